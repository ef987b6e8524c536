"""The planner's totals again, straight from the agencies' files: python3 totals.py DATA REPORT."""

import csv
import json
import math
import sys
from collections import defaultdict
from statistics import median_low


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def metres(a, b):
    (lat1, lon1), (lat2, lon2) = ([math.radians(x) for x in point] for point in (a, b))
    square = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return round(2 * 6_371_008.8 * math.asin(math.sqrt(square)))


def same(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}: the planner says {theirs}, the files say {ours}")
    print(f"{what}: {ours}")


data, report = sys.argv[1:]
roadmap = json.load(open(f"{report}/roadmap.json", encoding="utf-8"))
settings = roadmap["settings"]
districts = {row["district_code"]: row for row in rows(f"{data}/districts.csv")}
schools = rows(f"{data}/schools.csv")

people, area = defaultdict(int), {}
for code, row in districts.items():
    people[row["boundary_code_2012"]] += int(row["population_2022"])
    if row["has_2012_boundary"] == "1":
        area[code] = float(row["area_km2_2012"])
points = defaultdict(list)
for row in schools:
    if row["latitude"]:
        points[row["district_code"]].append((float(row["latitude"]), float(row["longitude"])))
capital = {
    department: tuple(median_low(axis) for axis in zip(*points[district]))
    for department, district in settings["capitals"].items()
}


def remote(row):
    """True, False or None: unknown."""
    if row["zone"] == "urban":
        return False
    district = districts.get(row["district_code"])
    far = thin = None
    if district:
        group = district["boundary_code_2012"]
        thin = people[group] / area[group] < settings["remote"]["inhabitants_per_km2_below"]
        if row["latitude"]:
            place = (float(row["latitude"]), float(row["longitude"]))
            far = metres(place, capital[district["department_code"]]) >= 1000 * settings["remote"]["km_from_capital"]
    dark = {"none": True, "solar": True, "grid": False}.get(row["electricity_2014"])
    reasons = [far, thin, dark]
    around = True if True in reasons else None if None in reasons else False
    if row["zone"] == "rural" or around is False:
        return around
    return None


groups = {
    "": lambda row: True,
    "urban_": lambda row: row["zone"] == "urban",
    "rural_": lambda row: row["zone"] == "rural",
    "unknown_zone_": lambda row: row["zone"] == "",
    "remote_": lambda row: remote(row) is True,
    "not_remote_": lambda row: remote(row) is False,
    "unknown_remoteness_": lambda row: remote(row) is None,
}
table = rows(f"{report}/districts.csv")
total = table[-1]
same("last line", "(total)", total["district"])
for name, belongs in groups.items():
    inside = [row for row in schools if belongs(row)]
    ours = [len(inside), *(sum(int(row[f"eeb_2023_{sex}"] or 0) for row in inside) for sex in ("boys", "girls"))]
    same(name or "all", ours, [int(total[f"{name}{column}"]) for column in ("schools", "boys", "girls")])
for sex in ("men", "women"):
    same(sex, sum(int(row[f"{sex}_2022"]) for row in districts.values()), int(total[f"{sex}_2022"]))
for column in ("schools", "boys", "girls", "remote_schools", "hospitals"):
    parts = sum(int(row[column]) for row in table[:-1])
    same(f"sum over districts, {column}", parts, int(total[column]))

candidates = [
    row
    for row in schools
    if set(row["sector"].split("+")) & set(settings["candidates"]["sectors"])
    and int(row["eeb_2023_boys"] or 0) + int(row["eeb_2023_girls"] or 0) > 0
]
health = [
    row
    for row in rows(f"{data}/health_facilities.csv")
    if row["institution"].lower() in settings["candidates"]["institutions"]
]
plan = roadmap["roadmap"]
same("candidates", len(candidates) + len(health), plan["candidates"]["value"])
need = plan["need"]
for sex in ("boys", "girls"):
    same(f"need, {sex}", sum(int(row[f"eeb_2023_{sex}"]) for row in candidates), need[sex]["value"])

programmes = {row["programme_id"]: row for row in rows(f"{data}/programmes_published.csv")}


def guaranies(programme):
    row = programmes[programme]
    rate = settings["exchange_rate"]["pyg_per_usd"] if row["currency"] == "USD" else 1
    return int(row["amount"]) * rate


low, high = (
    -(-guaranies(settings["cost"][end]) // int(programmes[settings["cost"][end]]["beneficiaries"]))
    for end in ("low", "high")
)
same("unit cost", [low, high], [plan["unit_cost_pyg"][end]["value"] for end in ("low", "high")])
price = {"low": low, "middle": low + (high - low) // 2, "high": high}[settings["cost"]["planned_at"]]
years = range(settings["years"]["first"], settings["years"]["last"] + 1)
lines = rows(f"{report}/plan.csv")
pupils = {row["establishment_code"]: row for row in candidates}
for rule, scenario in zip(settings["scenario"], plan["scenarios"]):
    budget = sum(guaranies(part["programme"]) * part["take"] // part["of"] for part in rule["parts"])
    same(f"{rule['name']}: budget", budget, scenario["budget_pyg_per_year"]["value"])
    left, ours = 0, []
    for _ in years:
        left += budget
        ours.append(left // price)
        left -= ours[-1] * price
    written = [year["reach"]["schools"]["value"] + year["reach"]["health_facilities"]["value"] for year in scenario["years"]]
    same(f"{rule['name']}: sites by year", ours, written)
    chosen = [line for line in lines if line["scenario"] == rule["name"]]
    same(f"{rule['name']}: sites in the table", sum(ours), len({(line["kind"], line["code"]) for line in chosen}))
    girls = sum(int(pupils[line["code"]]["eeb_2023_girls"]) for line in chosen if line["kind"] == "school")
    same(f"{rule['name']}: girls", girls, scenario["all_years"]["girls"]["value"])
    # Early years hold the highest priorities.
    ends = [[int(line["score"]) for line in chosen if int(line["year"]) == year] for year in years]
    if any(min(early) < max(late) for early, late in zip(ends, ends[1:])):
        sys.exit(f"{rule['name']}: a site of lower priority comes first")
