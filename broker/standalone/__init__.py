"""Runs a broker as a program of its own: its configuration, users and rights, metrics and signals.

settings = load_broker_settings(Path("broker.toml"), os.environ)  conf/load.py
realms = Realms(settings)                                         realms.py
realms.take(realms.read())                                        again when the files change
broker = Broker(open_listeners(settings), realms, realms, settings.limits)  listeners.py
"""
