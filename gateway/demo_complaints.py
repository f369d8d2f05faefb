"""Three telling complaints: returned and arbitrated, unanswered, and a third strike."""

from datetime import timedelta

from gateway.theatre import DEMO, Scene
from schemas.conduct import conduct_id
from schemas.party import Party

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAFF = "s-1041"
COUNTED = (
    "The staff file opens: a black mark, and a first measure.",
    "It is upheld, too: the second measure.",
    "And upheld: three within a year propose a move out of the post.",
)

# Nobody's: made up for the demonstration.
WU = Party(name="Wu Jing", phone="13800000007")
ZHENG = Party(name="Zheng Hao", phone="13800000008")
CHEN = Party(name="Chen Mei", phone="13800000009")
HE = Party(name="He Ping", phone="13800000010")
XU = Party(name="Xu Bin", phone="13800000011")


async def nobodys_department(s: Scene) -> None:
    await s.complained("A customer complains: the crew came late.", WU)
    await s.done("ScreenComplaint", category="late", gravity="light")
    await s.done("HandOverComplaint", department="field-service")
    await s.later(HOUR)
    ground = {"ground": "not_ours", "evidence": "slip:4"}
    await s.done("ReturnComplaint", **ground, who="field-3", role="clerk")
    await s.told("An hour later the field service says that it is not theirs.")
    await s.done("HandOverComplaint", department="network")
    await s.later(2 * HOUR)
    await s.done("ReturnComplaint", **ground, who="network-5", role="clerk")
    await s.told("Nor the network's, says the network. Twice is enough.")
    verdict = {"department": "field-service", "reason": "their_crew"}
    await s.done("ArbitrateReturn", **verdict, who="supervisor-1", role="supervisor")
    await s.told("A supervisor decides whose it is, for good.")
    await s.done("AcknowledgeComplaint", who="field-3")
    await s.done("StartInvestigation", who="field-3")
    await s.later(DAY)
    await s.done("AnswerComplaint", outcome="upheld", answer="letter:88", who="field-3")
    await s.told("The next day the customer has an answer: on the clock that never began anew.")
    await s.later(DAY)
    await s.done("RecordFollowUp", consent=True, result="satisfied")
    await s.told("And is content with it.")


async def unanswered(s: Scene) -> None:
    await s.complained("A customer complains of a bill.", ZHENG, category="bill")
    await s.done("ScreenComplaint", category="bill", gravity="light")
    await s.done("HandOverComplaint", department="billing")
    await s.done("AcknowledgeComplaint", who="billing-2")
    await s.told("The department takes it, and then there is the month's end to do.")
    await s.later(4 * DAY)
    await s.told("Forty-eight hours pass. The clock tells one after the other, up to the top.")
    await s.done("StartInvestigation", who="billing-2")
    no = {"outcome": "not_upheld", "answer": "letter:89", "reason": "bill_is_right"}
    await s.done("AnswerComplaint", **no, who="billing-2")
    await s.told("The answer, late, is no: with a reason, and the level above is told.")
    await s.done("RecordFollowUp", consent=True, result="not_satisfied")
    await s.told("The customer is not satisfied.")
    await s.done("AppealComplaint", ground="wrong_reading", evidence="letter:90")
    overturned = {"outcome": "upheld", "reason": "wrong_reading", "answer": "letter:91"}
    await s.done("OverturnDecision", **overturned, who="head-1", role="division_head")
    await s.told("The customer goes to the level above, which finds the reading wrong.")
    await s.done("RecordFollowUp", consent=True, result="satisfied")
    await s.told("Now it is done.")


async def third_strike(s: Scene) -> None:
    file = conduct_id(DEMO, STAFF)
    for number, customer in enumerate((CHEN, HE, XU), 1):
        case = await s.complained(
            f"Complaint {number} about the same member of staff.",
            customer,
            category="attitude",
            accused=STAFF,
        )
        await s.done("ScreenComplaint", of=case, category="attitude", gravity="light")
        await s.done("HandOverComplaint", of=case, department="counter")
        await s.done("AcknowledgeComplaint", of=case, who="counter-1")
        await s.done("StartInvestigation", of=case, who="counter-1")
        seen = {"conduct_at": s.moment().isoformat(), "evidence": f"minutes:{number}"}
        finding = {"staff": STAFF, "outcome": "upheld", "cause": "carelessness", **seen}
        await s.done("DecideFinding", of=case, **finding, who="counter-1")
        await s.happened(file, "FindingRecorded", number)
        await s.done("RecordApology", of=case, staff=STAFF, evidence=f"letter:{number}")
        answer = {"outcome": "upheld", "answer": f"letter:{90 + number}"}
        await s.done("AnswerComplaint", of=case, **answer, who="counter-1")
        await s.done("RecordFollowUp", of=case, consent=True, result="satisfied")
        if number == 1:
            await s.told("Looked into, and upheld; the apology is made.", case)
        measure = {"finding": f"{case}/{STAFF}", "evidence": f"minutes:{10 + number}"}
        await s.done("RecordMeasure", of=file, **measure, who="conduct-1", role="conduct_officer")
        await s.told(COUNTED[number - 1], file)
    await s.later(8 * DAY, file)
    await s.told("A week to reply passes without a word. Now a human must decide.", file)
    await s.approved(file, who="head-1", role="division_head")
    await s.told("The head of division does.", file)
