import io.grpc.Metadata;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import py.mec.v1.SchoolOuterClass.ListSchoolsRequest;
import py.mec.v1.SchoolOuterClass.StreamSchoolsRequest;
import py.mec.v1.SchoolServiceGrpc;

/** Three calls over the road, with ordinary stubs: see ../README.md. */
class Client {
  public static void main(String[] arguments) throws Exception {
    var door = System.getenv("PEABIRU_DOOR");
    var token = Files.readString(Path.of(System.getenv("PEABIRU_TOKEN_FILE")));
    var road = Map.of("x-peabiru-token", token, "x-peabiru-purpose", "connectivity-planning");
    var metadata = new Metadata();
    road.forEach((name, value) -> metadata.put(key(name), value));
    metadata.put(key("x-road-service"), "PY/GOV/MEC/education/py.mec.v1.SchoolService");
    var channel = NettyChannelBuilder.forTarget(door.replace("http://", "")).usePlaintext().build();
    var schools = SchoolServiceGrpc.newBlockingStub(channel)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));

    var page = schools.listSchools(ListSchoolsRequest.newBuilder().setPageSize(3).build());
    System.out.println("a page of 3: " + page.getSchoolsList().stream()
        .map(school -> school.getEstablishmentCode()).collect(Collectors.joining(", ")));

    long count = 0, girls = 0, boys = 0;
    var answers = schools.streamSchools(StreamSchoolsRequest.newBuilder().setDistrictCode("1001").build());
    while (answers.hasNext()) {
      var school = answers.next().getSchool();
      count += 1;
      girls += school.getGirls();
      boys += school.getBoys();
    }
    System.out.printf("district 1001: %d schools, %d girls, %d boys%n", count, girls, boys);

    var code = page.getSchools(0).getEstablishmentCode();
    var request = HttpRequest.newBuilder(URI.create(door + "/r1/PY/GOV/MEC/education/schools/schools/" + code))
        .header("X-Road-Client", "PY/GOV/MITIC/planning");
    road.forEach(request::header);
    var answer = HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString()).body();
    var name = Pattern.compile("\"name\":\"([^\"]*)\"").matcher(answer);
    name.find();
    System.out.println("school " + code + ": " + name.group(1));
    channel.shutdown();
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }
}
