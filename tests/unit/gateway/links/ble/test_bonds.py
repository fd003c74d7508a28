from gateway.links.ble.bonds import LIMIT, REMIND_S, BondBook


def test_a_lost_bond_is_reported_once_an_hour() -> None:  # case L5
    bonds = BondBook()
    assert bonds.note_refusal("A", "dev-1", 0.0)
    assert not bonds.note_refusal("A", "dev-1", 60.0)
    assert bonds.note_refusal("A", "dev-1", REMIND_S)
    assert [(b.address, b.was, b.since) for b in bonds.lost] == [("A", "dev-1", 0.0)]


def test_only_a_proof_after_the_loss_replaces_a_bond() -> None:  # case L5
    bonds = BondBook()
    assert not bonds.note_proof("A"), "a good bond was removed"
    bonds.note_refusal("A", "dev-1", 0.0)
    for n in range(20):  # a stranger with the same address
        bonds.note_refusal("A", "", float(n))
    assert [b.was for b in bonds.lost] == ["dev-1"]
    assert bonds.note_proof("A")
    assert not bonds.lost


def test_the_owner_may_give_a_bond_up() -> None:  # case L5
    bonds = BondBook()
    bonds.note_refusal("A", "", 0.0)
    assert bonds.remove("A")
    assert not bonds.remove("A")


def test_the_lost_bonds_have_a_bound() -> None:
    bonds = BondBook()
    for n in range(5 * LIMIT):
        bonds.note_refusal(str(n), "", float(n))
    assert len(bonds.lost) == LIMIT
