"""Lists the modules to freeze into a firmware (MicroPython manifest file)."""

metadata(version="0.1.0", description="Hecate device package", license="Apache-2.0")  # noqa: F821
package("device", base_path="..")  # noqa: F821
