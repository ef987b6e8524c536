"""Three calls over the road, with ordinary stubs: see ../README.md."""

import json
import os
import urllib.request

import grpc

from py.mec.v1 import school_pb2, school_pb2_grpc

door = os.environ["PEABIRU_DOOR"]
with open(os.environ["PEABIRU_TOKEN_FILE"]) as file:
    token = file.read()
road = {"x-peabiru-token": token, "x-peabiru-purpose": "connectivity-planning"}
metadata = [*road.items(), ("x-road-service", "PY/GOV/MEC/education/py.mec.v1.SchoolService")]
schools = school_pb2_grpc.SchoolServiceStub(grpc.insecure_channel(door.removeprefix("http://")))

page = schools.ListSchools(school_pb2.ListSchoolsRequest(page_size=3), metadata=metadata, timeout=30)
print("a page of 3:", ", ".join(school.establishment_code for school in page.schools))

count = girls = boys = 0
for answer in schools.StreamSchools(school_pb2.StreamSchoolsRequest(district_code="1001"), metadata=metadata, timeout=30):
    count, girls, boys = count + 1, girls + answer.school.girls, boys + answer.school.boys
print(f"district 1001: {count} schools, {girls} girls, {boys} boys")

url = f"{door}/r1/PY/GOV/MEC/education/schools/schools/{page.schools[0].establishment_code}"
request = urllib.request.Request(url, headers={**road, "X-Road-Client": "PY/GOV/MITIC/planning"})
with urllib.request.urlopen(request, timeout=30) as answer:
    school = json.load(answer)
print(f"school {school['establishment_code']}: {school['name']}")
