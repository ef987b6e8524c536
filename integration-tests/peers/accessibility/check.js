// The report's pages in a real browser: node check.js REPORT CHROMIUM. Fails on the first page that does not hold.
//
// For each page, at the width of a telephone and of a desk: no violation that axe knows of, nothing asked for outside the
// folder, no scrolling sideways. By keyboard: the first Tab shows the way past the head, which works; then Tab reaches every
// link and every region that scrolls, in the order of the page, and each shows that it has the focus. Without scripts.
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const axe = require("axe-core");
const { chromium } = require("playwright-core");

const [report, program] = process.argv.slice(2);
const PAGES = ["index.html", "en.html", "gn.html", "intercambios.html", "departamentos/11.html", "departments/16.html"];
const WIDTHS = [360, 1440];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

let failures = 0;
function holds(what, is, said = "") {
  if (is) return;
  failures += 1;
  console.log(`${what}: FAILS ${said}`);
}

async function rules(page, what) {
  await page.evaluate(axe.source);
  const found = await page.evaluate((values) => window.axe.run({ runOnly: { type: "tag", values } }), RULES);
  for (const violation of found.violations) {
    const nodes = violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 160));
    holds(what, false, `${violation.id} (${violation.nodes.length}): ${violation.help}\n    ${nodes.join("\n    ")}`);
  }
  return found.passes.length;
}

async function keyboard(page, what, address) {
  await page.goto(address);
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => {
    const here = document.activeElement.getBoundingClientRect();
    return { to: document.activeElement.getAttribute("href"), shown: here.left >= 0 && here.width > 1 };
  });
  holds(what, first.to === "#content" && first.shown, "the first Tab does not show the way to the content");
  await page.keyboard.press("Enter");
  const arrived = await page.evaluate(() => document.activeElement.id);
  holds(what, arrived === "content", `the way to the content leads to '${arrived}'`);

  // The address names the content now; from the top again.
  await page.goto("about:blank");
  await page.goto(address);
  const expected = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], [tabindex='0']")];
    all.forEach((element, at) => element.setAttribute("data-order", at));
    return all.length;
  });
  for (let at = 0; at < expected; at += 1) {
    await page.keyboard.press("Tab");
    const seen = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      const line = element.querySelector(".o");
      const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      const drawn = line !== null && parseFloat(getComputedStyle(line).strokeWidth) >= 5;
      const skip = element.className === "skip" && element.getBoundingClientRect().left >= 0;
      return { order: element.getAttribute("data-order"), shown: outlined || drawn || skip, html: element.outerHTML.slice(0, 120) };
    });
    if (seen.order !== String(at) || !seen.shown) {
      holds(what, false, `Tab ${at + 1} is at ${seen.order}, ${seen.shown ? "shown" : "not shown"}: ${seen.html}`);
      return at;
    }
  }
  return expected;
}

async function check(browser, name, width) {
  const what = `${name} at ${width} px`;
  const context = await browser.newContext({ viewport: { width, height: 800 } });
  const page = await context.newPage();
  const folder = pathToFileURL(path.resolve(report)).href + "/";
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(folder + name);
  const outside = asked.filter((url) => !url.startsWith(folder));
  holds(what, outside.length === 0 && asked.length === 1, `it asks for ${asked.join(", ")}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  holds(what, wide <= width, `it is ${wide} px wide`);
  const passed = await rules(page, what);
  const reached = await keyboard(page, what, folder + name);
  console.log(`${what}: ${passed} rules of axe pass, Tab reaches ${reached} places in order`);
  await context.close();
}

async function main() {
  const browser = await chromium.launch({
    executablePath: program,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  for (const name of PAGES) {
    for (const width of WIDTHS) await check(browser, name, width);
  }
  await browser.close();
  if (failures > 0) {
    console.log(`${failures} failures`);
    process.exit(1);
  }
}

main();
