"""An ordinary grpcio client on the road: stubs generated from the agencies' schemas, metadata, and nothing of Peabiru.

Reads everything from INE and MEC through MITIC's node and compares it with the published files, added up here; then asks
for what must be refused. What to reach is in the environment; see .ci/peers.d/grpcio. Writes the exchanges' ids to the
file that is its argument.
"""

import csv
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from peabiru.v1 import fault_pb2
from py.ine.v1 import district_pb2, district_pb2_grpc
from py.mec.v1 import school_pb2, school_pb2_grpc

PURPOSE = ("x-peabiru-purpose", "connectivity-planning")
SCHOOLS = ("x-road-service", "PY/GOV/MEC/education/py.mec.v1.SchoolService")
Code = grpc.StatusCode
exchanges = []


def main():
    with open(os.environ["PEABIRU_TOKEN_FILE"]) as file:
        token = ("x-peabiru-token", file.read())
    tcp = grpc.insecure_channel(os.environ["PEABIRU_DOOR"].removeprefix("http://"))
    unix = grpc.insecure_channel("unix:" + os.environ["DOOR_SOCKET"])

    districts = read_districts(tcp, [token, PURPOSE])
    compare_districts(districts)
    print(f"TCP, token: {len(districts)} districts, as in districts.csv")
    schools = read_schools(unix, [SCHOOLS, PURPOSE])
    compare_schools(schools)
    print(f"Unix socket, user id: {len(schools)} schools, as in schools.csv")
    print(f"reflection and health show {', '.join(shown(tcp, token))}")
    print(f"refused with status and details: {', '.join(refusals(tcp, token))}")
    many_at_once(tcp, [token, PURPOSE])
    deadlines(unix)
    print(f"64 calls at once, deadlines; {tls(token)}")

    assert len(set(exchanges)) == len(exchanges) > 100, "each exchange has an id of its own"
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(exchanges) + "\n")


def read_districts(channel, metadata):
    stub = district_pb2_grpc.DistrictServiceStub(channel)
    ask = lambda token: district_pb2.ListDistrictsRequest(page_size=50, page_token=token)
    return [row for page in pages(stub.ListDistricts, ask, metadata) for row in page.districts]


def read_schools(channel, metadata):
    stub = school_pb2_grpc.SchoolServiceStub(channel)
    ask = lambda token: school_pb2.ListSchoolsRequest(page_size=250, page_token=token)
    return [row for page in pages(stub.ListSchools, ask, metadata) for row in page.schools]


def pages(method, ask, metadata):
    token = ""
    while True:
        answer, call = method.with_call(ask(token), metadata=metadata, timeout=30)
        note_exchange(call)
        yield answer
        token = answer.next_page_token
        if not token:
            return


def note_exchange(call):
    found = dict(call.initial_metadata())["x-peabiru-exchange-id"]
    assert re.fullmatch("[0-9a-f]{32}", found), found
    exchanges.append(found)


def published(name):
    with open(f"examples/connectivity/data/{name}", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compare_districts(districts):
    rows = published("districts.csv")
    same({row.code: row.name for row in districts}, {row["district_code"]: row["name"] for row in rows})
    for field, column in [("population", "population_2022"), ("men", "men_2022"), ("women", "women_2022")]:
        same(sum(getattr(row, field) for row in districts), total(rows, column))
    area = lambda values: round(sum(values), 6)
    expected = area(float(row["area_km2_2012"]) for row in rows if row["area_km2_2012"])
    same(area(row.area_km2 for row in districts if row.HasField("area_km2")), expected)


def compare_schools(schools):
    rows = published("schools.csv")
    same({row.establishment_code: row.name for row in schools}, {row["establishment_code"]: row["name"] for row in rows})
    zones = {"": school_pb2.ZONE_UNSPECIFIED, "urban": school_pb2.ZONE_URBAN, "rural": school_pb2.ZONE_RURAL}
    same(Counter((row.district_code, row.zone) for row in schools),
         Counter((row["district_code"], zones[row["zone"]]) for row in rows))
    for field, column in [("boys", "eeb_2023_boys"), ("girls", "eeb_2023_girls")]:
        known = [row for row in schools if row.HasField(field)]
        same(len(known), sum(row[column] != "" for row in rows))
        same(sum(getattr(row, field) for row in known), total(rows, column))


def total(rows, column):
    return sum(int(row[column]) for row in rows if row[column])


def same(found, expected):
    assert found == expected, f"{found} came over the road, {expected} is published"


def shown(channel, token):
    """What grpcio's own reflection and health clients find at the door: what may be called, and nothing else."""
    with_token = grpc.intercept_channel(channel, WithMetadata([token]))
    database = ProtoReflectionDescriptorDatabase(with_token)
    names = sorted(name for name in database.get_services() if not name.startswith("grpc."))
    agencies = ["conatel.v1.Publication", "ine.v1.District", "mec.v1.School", "mitic.v1.PublicSpace", "mspbs.v1.Facility"]
    same(names, [f"py.{agency}Service" for agency in agencies])
    schools = DescriptorPool(database).FindServiceByName("py.mec.v1.SchoolService")
    same([method.name for method in schools.methods if method.name == "ListSchools"], ["ListSchools"])
    assert "FlagSchool" not in schools.methods_by_name, "no grant covers it"
    health = health_pb2_grpc.HealthStub(with_token)
    for name in ["", *names]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        same(answer.status, health_pb2.HealthCheckResponse.SERVING)
    nobody = lambda: health.Check(health_pb2.HealthCheckRequest(service="py.nobody"), timeout=30)
    same(failure(nobody).code(), Code.NOT_FOUND)
    stranger = health_pb2_grpc.HealthStub(channel)
    same(failure(lambda: stranger.Check(health_pb2.HealthCheckRequest(), timeout=30)).code(), Code.UNAUTHENTICATED)
    return names


class WithMetadata(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """The same metadata with every call: a reflection client takes a channel and no metadata."""

    def __init__(self, metadata):
        self.metadata = metadata

    def intercept_unary_unary(self, proceed, details, request):
        return proceed(details._replace(metadata=self.metadata), request)

    def intercept_stream_stream(self, proceed, details, requests):
        return proceed(details._replace(metadata=self.metadata), requests)


def refusals(channel, token):
    list_schools = school_pb2_grpc.SchoolServiceStub(channel).ListSchools
    flag = school_pb2_grpc.SchoolServiceStub(channel).FlagSchool
    request = school_pb2.ListSchoolsRequest(page_size=1)
    why = lambda text: ("x-peabiru-purpose", text)
    nobody = ("x-road-service", "PY/GOV/MOPC/roads/py.mec.v1.SchoolService")
    long = lambda count: school_pb2.ListSchoolsRequest(page_token="7" * count)
    cases = [
        ("client.unidentified", Code.UNAUTHENTICATED, "CONSUMER_NODE", list_schools, request, [PURPOSE]),
        ("client.unidentified", Code.UNAUTHENTICATED, "CONSUMER_NODE", list_schools, request,
         [("x-peabiru-token", "guessed"), PURPOSE]),
        ("client.not_allowed", Code.PERMISSION_DENIED, "CONSUMER_NODE", list_schools, request,
         [token, PURPOSE, ("x-road-client", "PY/GOV/MEC/education")]),
        ("purpose.missing", Code.INVALID_ARGUMENT, "CONSUMER_NODE", list_schools, request, [token]),
        # The contract knows this purpose, the grant does not.
        ("purpose.not_allowed", Code.PERMISSION_DENIED, "PROVIDER_NODE", list_schools, request, [token, why("statistics")]),
        ("purpose.not_allowed", Code.PERMISSION_DENIED, "", list_schools, request, [token, why("curiosity")]),
        ("purpose.not_allowed", Code.PERMISSION_DENIED, "PROVIDER_NODE", flag,
         school_pb2.FlagSchoolRequest(establishment_code="0000001", doubt=1), [token, why("data-correction")]),
        ("service.unknown", Code.NOT_FOUND, "CONSUMER_NODE", list_schools, request, [token, PURPOSE, nobody]),
    ]
    for code, status, place, method, message, metadata in cases:
        refused(code, status, place, lambda: method(message, metadata=metadata, timeout=30))
    compressed = lambda: list_schools(long(5_000), metadata=[token, PURPOSE], timeout=30, compression=grpc.Compression.Deflate)
    refused("payload.compressed", Code.UNIMPLEMENTED, "CONSUMER_NODE", compressed)
    of_the_service(list_schools, [token, PURPOSE], compression=grpc.Compression.Gzip)
    return sorted({case[0] for case in cases} | {"payload.compressed"})


def refused(code, status, place, call):
    """The fault comes as status, as details that the richer error model reads, and as one header."""
    error = failure(call)
    assert error.code() == status, f"{code}: {error.code()} {error.details()}"
    details = rpc_status.from_call(error)
    fault = fault_pb2.Fault()
    assert details is not None and details.details[0].Unpack(fault), code
    same((fault.code, fault.blame != 0, fault.hint != ""), (code, True, True))
    assert fault_pb2.FaultPlace.Name(fault.place).endswith(place), fault
    same({**dict(error.initial_metadata()), **dict(error.trailing_metadata())}["x-peabiru-fault"], code)


def of_the_service(method, metadata, compression):
    """An error of the agency's own service arrives as the service said it, sealed like any answer: it read the request."""
    request = school_pb2.ListSchoolsRequest(page_token="none" * 1_000)
    error = failure(lambda: method(request, metadata=metadata, timeout=30, compression=compression))
    same((error.code(), error.details()), (Code.INVALID_ARGUMENT, "page_token is none that this service gave"))
    note_exchange(error)


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was not refused")


def many_at_once(channel, metadata):
    stub = school_pb2_grpc.SchoolServiceStub(channel)
    request = school_pb2.ListSchoolsRequest(page_size=1)
    calls = [stub.ListSchools.future(request, metadata=metadata, timeout=60) for _ in range(64)]
    for call in calls:
        same(len(call.result().schools), 1)
        note_exchange(call)


def deadlines(channel):
    stub = school_pb2_grpc.SchoolServiceStub(channel)
    ask = lambda seconds: stub.ListSchools(school_pb2.ListSchoolsRequest(), metadata=[PURPOSE], timeout=seconds)
    # The provider's node stands still, so the call ends when its deadline says, and the road serves again afterwards.
    provider = node_process("MEC")
    os.kill(provider, signal.SIGSTOP)
    try:
        same(failure(lambda: ask(0.5)).code(), Code.DEADLINE_EXCEEDED)
    finally:
        os.kill(provider, signal.SIGCONT)
    same(len(ask(30).schools), 250)


def node_process(agency):
    """The node of this agency: the child of the sandbox that runs with the agency's folder."""
    sandbox = int(os.environ["SANDBOX_PROCESS"])
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            arguments = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue  # it ended meanwhile
        if parent == sandbox and "node" in arguments and any(f"/{agency}/" in argument for argument in arguments):
            return int(folder.name)
    raise AssertionError(f"no node of {agency} runs")


def tls(token):
    """A door with TLS: the caller is whom its client certificate says. Without one it must show a token."""
    read = lambda name: open(os.environ[name], "rb").read()
    authority = read("TLS_AUTHORITY")
    door = os.environ["TLS_DOOR"]
    with_certificate = grpc.ssl_channel_credentials(authority, read("TLS_CLIENT_KEY"), read("TLS_CLIENT_CERTIFICATE"))
    without = grpc.ssl_channel_credentials(authority)
    schools = read_schools(grpc.secure_channel(door, with_certificate), [SCHOOLS, PURPOSE])
    compare_schools(schools)
    anonymous = grpc.secure_channel(door, without)
    stub = school_pb2_grpc.SchoolServiceStub(anonymous)
    call = lambda: stub.ListSchools(school_pb2.ListSchoolsRequest(), metadata=[PURPOSE, token], timeout=30)
    refused("client.unidentified", Code.UNAUTHENTICATED, "CONSUMER_NODE", call)
    return f"TLS 1.3, client certificate: {len(schools)} schools"


main()
