"""A client library that others wrote (aiopenapi3), on the REST door and unchanged.

It reads the service's description over the road, as X-Road's getOpenAPI gives it, makes its calls from that alone, and checks
each answer against it. What it needs to be told is what every client of X-Road is told: the door's address and the headers.
What to reach is in the environment; see .ci/peers.d/xroad-client.
"""

import csv
import os

from aiopenapi3 import OpenAPI
from aiopenapi3.plugin import Document
import httpx2

SUBSYSTEM = os.environ["PEABIRU_DOOR"] + "/r1/PY/GOV/MEC/education"


def session(**arguments) -> httpx2.Client:
    with open(os.environ["PEABIRU_TOKEN_FILE"]) as file:
        token = file.read()
    headers = {"X-Road-Client": "PY/GOV/MITIC/planning", "X-Peabiru-Token": token,
               "X-Peabiru-Purpose": "connectivity-planning"}
    return httpx2.Client(**{**arguments, "headers": headers, "timeout": 30})


class AtTheDoor(Document):
    """A description says what a service offers; where it is reached is X-Road's to say."""

    def parsed(self, context):
        context.document["servers"] = [{"url": SUBSYSTEM + "/schools"}]
        return context


def main():
    with session() as plain:
        described = plain.get(SUBSYSTEM + "/getOpenAPI", params={"serviceCode": "schools"})
        assert described.status_code == 200, described.text
        listed = plain.get(SUBSYSTEM + "/allowedMethods").json()["service"]
        assert [service["service_code"] for service in listed] == ["schools"], listed
    description = OpenAPI.loads(SUBSYSTEM + "/schools.json", described.text, session_factory=session, plugins=[AtTheDoor()])
    with open("examples/connectivity/data/schools.csv", newline="", encoding="utf-8") as file:
        published = [row for row in csv.DictReader(file)][:25]
    def ask(code):
        return description.createRequest(("/schools/{establishment_code}", "get")).request(parameters={"establishment_code": code})

    for row in published:
        _, school, answer = ask(row["establishment_code"])
        assert school.name == row["name"] and school.zone == row["zone"], (school, row)
        assert answer.headers["x-road-service"] == "PY/GOV/MEC/education/schools", answer.headers
    _, _, answer = ask("0000000")
    assert answer.status_code == 404, answer
    print(f"aiopenapi3, from getOpenAPI alone: {len(published)} schools, as in schools.csv")


main()
