// Uses the page at argv[2] in a real browser and fails loudly. argv[3] is the
// folder for screenshots.
const assert = require('assert');
const path = require('path');
const { chromium } = require('playwright-core');

async function main(address, folder) {
  const browser = await chromium.launch({
    executablePath: process.env.TAPEDECK_CHROMIUM,
    args: ['--no-sandbox'],
  });
  const page = await browser.newPage({ viewport: { width: 1100, height: 1200 } });
  page.setDefaultTimeout(20000);
  const wrong = [];
  page.on('pageerror', (e) => wrong.push(`page: ${e.message}`));
  page.on('response', (r) => r.status() >= 400 && !r.url().endsWith('favicon.ico') && wrong.push(`${r.status()} ${r.url()}`));

  const shown = async (id) => JSON.parse((await page.innerText(`#${id}`)) || 'null');
  const answer = async (act) => {
    const before = await page.innerText('#answer');
    await act();
    await page.waitForFunction((old) => document.querySelector('#answer').innerText !== old, before);
    return shown('answer');
  };
  const press = (name) => () => page.getByRole('button', { name, exact: true }).click();

  try {
    await page.goto(address);

    // The settings page writes what the backend reads.
    await page.getByLabel('Host').fill('timescaledb:5432');
    await page.getByLabel('Password').fill('not shown');
    await page.getByLabel('TLS').click();
    await page.getByRole('option', { name: /^disable/ }).click();
    const { options } = await shown('asked');
    assert.deepStrictEqual(options.jsonData, { dbHost: 'timescaledb:5432', sslMode: 'disable' });
    assert.deepStrictEqual(options.secureJsonData, { dbPassword: 'not shown' });

    // Explore begins with lines.
    const traffic = await answer(press('Run'));
    assert.strictEqual(traffic.errors, undefined);
    const [lines] = traffic.frames;
    assert.strictEqual(lines.type, 'log-lines');
    assert.ok(lines.fields[0].values.length > 1, 'no lines');
    const types = Object.fromEntries(lines.fields.map((f) => [f.name, f.type]));
    assert.deepStrictEqual(types, { timestamp: 'time', body: 'string', severity: 'string', id: 'string', labels: 'other', labelTypes: 'other' });
    await page.screenshot({ path: path.join(folder, 'traffic.png') });

    // A selector that is none is said to be none, with its place.
    await page.getByLabel('Selector').fill('{service=}');
    const refused = await answer(press('Run'));
    assert.match(refused.errors.join(), /selector column/);

    // Numbers over time, one series for each direction.
    await page.getByLabel('Selector').fill('{service="shop"}');
    await page.getByText('Throughput', { exact: true }).click();
    await page.getByLabel('Group by').click();
    await page.getByRole('option', { name: 'direction' }).click();
    await page.keyboard.press('Escape');
    const series = await answer(press('Run'));
    assert.strictEqual(series.errors, undefined);
    const directions = series.frames.flatMap((f) => f.fields).filter((f) => f.type === 'number').map((f) => f.labels.direction);
    assert.deepStrictEqual(directions.sort(), ['inbound', 'outbound']);
    await page.screenshot({ path: path.join(folder, 'throughput.png') });

    // Save & test says what works.
    const health = await answer(press('Test'));
    assert.strictEqual(health.status, 'success');
    assert.match(health.message, /Database: works/);
    assert.deepStrictEqual(wrong, []);
  } catch (err) {
    await page.screenshot({ path: path.join(folder, 'failed.png') });
    console.error(wrong.join('\n'), '\n', (await page.innerText('body')).slice(0, 2000));
    throw err;
  } finally {
    await browser.close();
  }
}

main(process.argv[2], process.argv[3]).catch((err) => {
  console.error(err);
  process.exit(1);
});
