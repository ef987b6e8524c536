// Three calls over the road, with ordinary stubs: see ../README.md.
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const door = process.env.PEABIRU_DOOR;
const road = {
  "x-peabiru-token": readFileSync(process.env.PEABIRU_TOKEN_FILE, "utf8"),
  "x-peabiru-purpose": "connectivity-planning",
};
const schema = loader.loadSync("py/mec/v1/school.proto", { keepCase: true, includeDirs: process.argv.slice(2) });
const { SchoolService } = grpc.loadPackageDefinition(schema).py.mec.v1;
const schools = new SchoolService(door.replace("http://", ""), grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
for (const [name, value] of Object.entries(road)) metadata.set(name, value);
metadata.set("x-road-service", "PY/GOV/MEC/education/py.mec.v1.SchoolService");
const options = () => ({ deadline: Date.now() + 30_000 });

const page = await promisify(schools.ListSchools.bind(schools))({ page_size: 3 }, metadata, options());
console.log("a page of 3:", page.schools.map((school) => school.establishment_code).join(", "));

let [count, girls, boys] = [0, 0, 0];
for await (const { school } of schools.StreamSchools({ district_code: "1001" }, metadata, options())) {
  count += 1;
  girls += school.girls ?? 0;
  boys += school.boys ?? 0;
}
console.log(`district 1001: ${count} schools, ${girls} girls, ${boys} boys`);

const url = `${door}/r1/PY/GOV/MEC/education/schools/schools/${page.schools[0].establishment_code}`;
const answer = await fetch(url, { headers: { ...road, "X-Road-Client": "PY/GOV/MITIC/planning" } });
const school = await answer.json();
console.log(`school ${school.establishment_code}: ${school.name}`);
schools.close();
