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
  // Fonts are Grafana's own.
  page.on('response', (r) => r.status() >= 400 && !r.url().includes('/public/fonts/') && wrong.push(`${r.status()} ${r.url()}`));

  const shown = async (id) => JSON.parse((await page.innerText(`#${id}`)) || 'null');
  // What the page shows once it is what is waited for: runs overtake each other.
  const until = async (fits) => {
    await page.waitForFunction(`(${fits})(JSON.parse(document.querySelector('#answer').innerText || '{}'))`);
    return shown('answer');
  };
  const choose = async (type) => {
    await page.getByLabel('Query type').click();
    await page.getByRole('option', { name: new RegExp(`^${type}`) }).click();
  };
  const press = (name) => page.getByRole('button', { name, exact: true }).click();

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
    await press('Run');
    const traffic = await until((a) => a.errors || a.frames?.length);
    assert.strictEqual(traffic.errors, undefined);
    const [lines] = traffic.frames;
    assert.strictEqual(lines.type, 'log-lines');
    assert.ok(lines.fields[0].values.length > 1, 'no lines');
    const types = Object.fromEntries(lines.fields.map((f) => [f.name, f.type]));
    assert.deepStrictEqual(types, {
      timestamp: 'time',
      body: 'string',
      severity: 'string',
      id: 'string',
      labels: 'other',
      labelTypes: 'other',
      exchange_id: 'string',
      trace_id: 'string',
      session_id: 'string',
    });
    await page.screenshot({ path: path.join(folder, 'traffic.png') });

    // A selector that is none is said to be none, with its place.
    await page.getByLabel('Selector').fill('{service=}');
    await press('Run');
    await until((a) => a.errors?.join().includes('selector column'));

    // Numbers over time, one series for each direction.
    await page.getByLabel('Selector').fill('{service="shop"}');
    await choose('Throughput');
    await page.getByPlaceholder('one line for all').click(); // 12.0 knows no label here
    await page.getByRole('option', { name: 'direction' }).click();
    await page.keyboard.press('Escape');
    await press('Run');
    const series = await until((a) => a.frames?.[0]?.fields.length === 3);
    const directions = series.frames.flatMap((f) => f.fields).filter((f) => f.type === 'number').map((f) => f.labels.direction);
    assert.deepStrictEqual(directions.sort(), ['inbound', 'outbound']);
    await page.screenshot({ path: path.join(folder, 'throughput.png') });

    // Every other type that needs no name answers what it is asked.
    const others = { Errors: 'errors', 'Latency heat map': 'heatmap', Top: 'top', 'Service map': 'service_map', Dependencies: 'dependencies',
      Pipeline: 'pipeline', Scenarios: 'scenarios', Replays: 'replays' };
    for (const [label, type] of Object.entries(others)) {
      await choose(label);
      await press('Run');
      const answer = await until(`(a) => a.queryType === '${type}'`);
      assert.strictEqual(answer.errors, undefined, label);
    }
    await choose('Latency ?Percentiles');
    await page.getByPlaceholder('50, 95, 99').click();
    await page.getByRole('option', { name: '99.9' }).click();
    await page.keyboard.press('Escape');
    await press('Run');
    const slowest = await until((a) => a.frames?.[0]?.fields.some((f) => f.name === 'p99.9'));
    assert.ok(slowest.frames[0].fields.find((f) => f.name === 'p99.9').values.some((v) => v > 0));
    await page.screenshot({ path: path.join(folder, 'latency.png') });

    // Save & test says what works.
    await press('Test');
    const health = await until((a) => a.status);
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
