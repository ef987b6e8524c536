"""The planner's totals again, straight from the agencies' files: python3 totals.py DATA REPORT.

Rounding, as the report states it: shares, millions and metres to the nearest, a half up; a site's cost up to the whole guaraní;
the middle cost and the parts of a budget down. Rules compare exact shares.
"""

import csv
import json
import math
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from statistics import median_low


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def metres(a, b):
    (lat1, lon1), (lat2, lon2) = ([math.radians(x) for x in point] for point in (a, b))
    square = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return math.floor(2 * 6_371_008.8 * math.asin(math.sqrt(square)) + 0.5)


def same(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}: the planner says {theirs}, the files say {ours}")
    print(f"{what}: {ours}")


def rounded(number, part):
    return (2 * number + part) // (2 * part)


def share(part, whole):
    """As roadmap.json writes it."""
    return {"part": part, "per_thousand": rounded(1000 * part, whole) if whole else None, "whole": whole}


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

facilities = rows(f"{data}/health_facilities.csv")
same("health facilities", len(facilities), int(total["health_facilities"]))
# The rule asks for zone or for electricity, which nobody has asked them: it decides for none.
same("health facilities of unknown remoteness", len(facilities), int(total["health_remoteness_unknown"]))
unsaid = [
    not row[column] for row in schools for column in ("zone", "eeb_2023_boys", "latitude")
] + [row["electricity_2014"] in ("", "unknown", "yes_unspecified") for row in schools]
unsaid += [unsaid for row in facilities for unsaid in (True, not row["latitude"])]
same("missing data, per thousand", rounded(1000 * sum(unsaid), len(unsaid)), int(total["unknown_per_thousand"]))


def standing(row):
    sectors = set(row["sector"].split("+")) - {""}
    if int(row["eeb_2023_boys"] or 0) + int(row["eeb_2023_girls"] or 0) == 0:
        return "no_pupils"
    if not sectors:
        return "unknown_sector"
    return "candidate" if sectors & set(settings["candidates"]["sectors"]) else "other_sector"


candidates = [row for row in schools if standing(row) == "candidate"]
health = [row for row in facilities if row["institution"].lower() in settings["candidates"]["institutions"]]
plan = roadmap["roadmap"]
same("candidates", len(candidates) + len(health), plan["candidates"]["value"])
left_out = {reason: count["value"] for reason, count in roadmap["selection"]["schools"]["left_out"].items()}
ours = Counter(map(standing, schools))
same("schools left out", {reason: ours[reason] for reason in left_out}, left_out)
sites = {(row["kind"], row["code"]): row for row in rows(f"{report}/sites.csv")}
same("sites one by one", len(schools) + len(facilities), len(sites))
for row in schools:
    site = sites["school", row["establishment_code"]]
    ours = [standing(row), {True: "yes", False: "no", None: "unknown"}[remote(row)], bool(row["latitude"])]
    if ours != [site["standing"], site["remote"], bool(site["latitude"])]:
        sys.exit(f"{row['establishment_code']}: the planner says {site}, the files say {ours}")
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
residents = {code: (int(row["men_2022"]), int(row["women_2022"])) for code, row in districts.items()}


def reached(school_codes, facility_rows, served):
    """What is reached for each group: part and whole, of money and of beneficiaries. `served` districts are counted already."""
    sums = Counter()
    for code in school_codes:
        row = pupils[code]
        boys, girls = int(row["eeb_2023_boys"]), int(row["eeb_2023_girls"])
        where = [("rural", {"rural": True, "urban": False}.get(row["zone"])), ("remote", remote(row))]
        for group, is_inside in where:
            if is_inside is not None:
                sums.update({(group, "money", "whole"): price, (group, "beneficiaries", "whole"): boys + girls})
            if is_inside:
                sums.update({(group, "money", "part"): price, (group, "beneficiaries", "part"): boys + girls})
        sums.update({("girls", "money", "whole"): price, ("girls", "money", "part"): price * girls // (boys + girls)})
        sums.update({("girls", "beneficiaries", "whole"): boys + girls, ("girls", "beneficiaries", "part"): girls})
    for row in facility_rows:
        men, women = residents[row["district_code"]]
        sums.update({("women", "money", "whole"): price, ("women", "money", "part"): price * women // (men + women)})
        if row["district_code"] not in served:
            served.add(row["district_code"])
            sums.update({("women", "beneficiaries", "whole"): men + women, ("women", "beneficiaries", "part"): women})
    return sums


everything = reached(pupils, health, set())
english = open(f"{report}/en.html", encoding="utf-8").read()
for rule, scenario in zip(settings["scenario"], plan["scenarios"]):
    budget = sum(guaranies(part["programme"]) * part["take"] // part["of"] for part in rule["parts"])
    same(f"{rule['name']}: budget", budget, scenario["budget_pyg_per_year"]["value"])
    same(f"{rule['name']}: its millions stand on the page", True, f">{rounded(budget, 10**6):,}</a>" in english)
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
    remaining, served, behind = Counter(everything), set(), 0
    for year in scenario["years"]:
        of_year = [line for line in chosen if int(line["year"]) == year["year"]]
        connected = {line["code"] for line in of_year if line["kind"] != "school"}
        got = reached(
            [line["code"] for line in of_year if line["kind"] == "school"],
            [row for row in health if row["facility_id"] in connected],
            served,
        )
        for equity in year["equity"]:
            group, is_behind, is_left = equity["group"], False, False
            for measure in ("money", "beneficiaries"):
                parts = [[sums[group, measure, key] for key in ("part", "whole")] for sums in (got, remaining)]
                for name, (part, whole) in zip((measure, f"{measure}_need"), parts):
                    if equity[name]["value"] != share(part, whole):
                        sys.exit(f"{rule['name']} {year['year']} {group} {name}: {equity[name]}, not {share(part, whole)}")
                (part, whole), (of, all_of_it) = parts
                is_left |= of > 0
                if whole and all_of_it:
                    less = Fraction(of, all_of_it) - Fraction(part, whole)
                    is_behind |= less > Fraction(settings["equity"]["tolerance_per_thousand"], 1000)
            said = equity["finding"]["value"]["en"] or ""
            ours = [is_behind, not is_left]
            if ours != ["less than their share" in said, "was left to connect." in said and "less" not in said]:
                sys.exit(f"{rule['name']} {year['year']} {group}: the planner says '{said}', the files say {ours}")
            behind += is_behind
        remaining.subtract(got)
    print(f"{rule['name']}: equity of each year, {behind} times behind")
    # Early years hold the highest priorities.
    ends = [[int(line["score"]) for line in chosen if int(line["year"]) == year] for year in years]
    if any(min(early) < max(late) for early, late in zip(ends, ends[1:])):
        sys.exit(f"{rule['name']}: a site of lower priority comes first")
