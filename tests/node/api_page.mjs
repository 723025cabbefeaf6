// Uses the API's page as a person would: authorizes, tries to create a task, looks at the answer. Prints what was seen as JSON.
//
// Arguments: the browser's program, the page's address, a token, the title of the task, and where screenshots go.

import puppeteer from "puppeteer-core";

const [executablePath, address, token, title, screenshots] = process.argv.slice(2);

const seen = { console: [], failures: [], violations: [], requests: [], statuses: {} };

// Chromium has no sandbox for root.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await puppeteer.launch({ executablePath, args: [...args, "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 920 });
  page.setDefaultTimeout(30_000);
  page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => seen.failures.push(String(error)));
  page.on("requestfailed", (request) => seen.failures.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("request", (request) => seen.requests.push(`${request.method()} ${request.url()}`));
  page.on("response", (response) => (seen.statuses[response.url()] = response.status()));
  await page.exposeFunction("violated", (violation) => seen.violations.push(violation));
  await page.evaluateOnNewDocument(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.violated(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
    );
  });

  await page.goto(address, { waitUntil: "networkidle0" });
  seen.title = await page.title();
  seen.operations = await page.$$eval(".opblock", (operations) => operations.map((operation) => operation.id));
  await page.screenshot({ path: `${screenshots}/page.png` });

  await page.locator(".auth-wrapper .authorize").click();
  // Typed: what is set at once, the page does not notice.
  await page.type("#auth-bearer-value", token);
  await page.screenshot({ path: `${screenshots}/authorize.png` });
  await page.locator(".modal-ux button.authorize").click();
  await page.locator(".modal-ux button.btn-done").click();

  const operation = "#operations-Tasks-createTask";
  await page.locator(`${operation} .opblock-summary-control`).click();
  await page.locator(`${operation} .try-out__btn`).click();
  await page.locator(`${operation} textarea.body-param__text`).fill(JSON.stringify({ title }));
  await page.locator(`${operation} button.execute`).click();
  await page.waitForSelector(`${operation} .live-responses-table .response .response-col_status`);
  const answer = `${operation} .live-responses-table .response`;
  seen.status = await page.$eval(`${answer} .response-col_status`, (cell) => cell.textContent.trim());
  seen.body = await page.$eval(`${answer} .highlight-code code`, (code) => code.textContent);
  await page.$eval(answer, (row) => row.scrollIntoView({ block: "center" }));
  await page.screenshot({ path: `${screenshots}/answer.png` });
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
