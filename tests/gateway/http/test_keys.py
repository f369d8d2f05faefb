"""Keys and signed approvals over HTTP: a cutoff's yes is provably whose it is."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import signing
from tests.gateway.http.office import Office, badge, problem
from tests.gateway.http.test_resources import bill

HEAD = {"by": "division_head", "who": "head-1"}


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


async def enrolled(office: Office, subject: str) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    new = {"subject": subject, "key": signing.public_key(key)}
    kept = await office.done("/v1/keys", new, by="admin")
    assert (kept["subject"], kept["enrolled_by"]) == (subject, "admin-1")
    return key


async def asked(office: Office) -> dict[str, Any]:
    """A large meter's account, reminded and noticed in vain: the division head is asked."""
    bills = [{"bill": "B-1", "amount": 12_000, "due": ago(40)[:10]}]
    owed = bill(dn=50, bills=bills, occurred_at=ago(30))
    case_id = (await office.done("/v1/arrears", owed, by="service"))["case_id"]
    told = {"how": "phone", "evidence": "call-1"}
    for name, body in (
        ("RecordContact", {**told, "occurred_at": ago(29)}),
        ("RecordContact", {**told, "evidence": "call-2", "occurred_at": ago(28)}),
        ("ServeNotice", {"how": "door", "proof": "photo-1", "occurred_at": ago(26)}),
        ("RequestCutoff", {"reason": "unpaid"}),
    ):
        answer = await office.send(case_id, name, **body)
        assert answer.status_code == 200, answer.text
    return (await office.get("/v1/approvals", by="division_head", case=case_id))["approvals"][0]


async def test_an_admin_enrols_keys_and_their_owners_report_them_lost(office: Office) -> None:
    key = signing.public_key(await enrolled(office, "head-1"))
    new = {"subject": "admin-1", "key": signing.public_key(Ed25519PrivateKey.generate())}
    own = problem(await office.post("/v1/keys", new, by="admin"), 409, "refused")
    assert own["reasons"] == ["Nobody enrols their own key."]
    problem(await office.post("/v1/keys", new, by="division_head"), 403, "forbidden")
    taken = {"subject": "head-2", "key": key}
    problem(await office.post("/v1/keys", taken, by="admin"), 409, "refused")

    (mine,) = (await office.get("/v1/keys", **HEAD, subject="head-1"))["keys"]
    assert mine["key"] == key
    assert (await office.http.get("/v1/keys", headers=badge("clerk"))).status_code == 403

    path = f"/v1/keys/{key}/loss"
    problem(await office.post(path, by="clerk"), 403, "forbidden")
    lost = await office.done(path, **HEAD)
    assert lost["lost_by"] == "head-1"
    assert lost["lost_at"]
    unknown = signing.public_key(Ed25519PrivateKey.generate())
    problem(await office.post(f"/v1/keys/{unknown}/loss", by="admin"), 404, "no-such-entry")


async def test_a_cutoff_is_approved_with_ones_own_signature_and_with_nothing_less(
    office: Office,
) -> None:
    approval = await asked(office)
    assert approval["signed"]
    case_id = approval["case_id"]
    path = f"/v1/cases/{case_id}/approvals/{approval['id']}/decision"
    choice: dict[str, Any] = {"decision": "approve", "facts_hash": approval["facts_hash"]}
    unsigned = problem(await office.post(path, choice, **HEAD), 409, "refused")
    assert "needs the signature" in " ".join(unsigned["reasons"])

    key = await enrolled(office, "head-1")
    shown = await office.session.timeline(case_id)
    said = signing.statement(shown, shown.approvals[-1], "approve", "head-1")
    signed = {**choice, "signature": signing.sign(key, said).model_dump(mode="json")}
    # Whoever takes the signed words and sends them with a token of their own gets nothing.
    other = problem(
        await office.post(path, signed, by="division_head", who="head-2"), 409, "refused"
    )
    assert "not enrolled to who decides" in " ".join(other["reasons"])
    refusals = (await office.get("/v1/refusals", by="auditor", case=case_id))["refusals"]
    assert "head-2" in {r["actor"] for r in refusals}

    outcome = await office.done(path, signed, **HEAD)
    assert outcome["stage"] == "Authorised"
