// A page that stands in for Grafana: it loads the built module.js as Grafana's
// loader does, gives it the libraries that Grafana shares and nothing else,
// and shows the editors. The Go side of the harness answers its requests with
// the real plugin.
import * as emotion from '@emotion/css';
import * as data from '@grafana/data';
import * as runtime from '@grafana/runtime';
import * as ui from '@grafana/ui';
import * as lodash from 'lodash';
import * as React from 'react';
import * as ReactDOM from 'react-dom';
import { createRoot } from 'react-dom/client';
import * as rxjs from 'rxjs';

// The same list as build/externals.js, held together by the build of the harness.
const shared: Record<string, unknown> = {
  react: React,
  'react-dom': ReactDOM,
  rxjs,
  lodash,
  '@emotion/css': emotion,
  '@grafana/data': data,
  '@grafana/runtime': runtime,
  '@grafana/ui': ui,
};

async function load(url: string): Promise<any> {
  const source = await (await fetch(url)).text();
  let loaded: unknown;
  const define = (names: string[], factory: (...libraries: unknown[]) => unknown) => {
    const missing = names.filter((name) => !(name in shared));
    if (missing.length > 0) {
      throw new Error(`Grafana does not share ${missing.join(', ')}`);
    }
    loaded = factory(...names.map((name) => shared[name]));
  };
  define.amd = {};
  new Function('define', source)(define);
  return loaded;
}

const settings: any = {
  id: 1,
  uid: 'api-traffic',
  type: 'tapedeck-traffic-datasource',
  name: 'API Traffic',
  access: 'proxy',
  readOnly: false,
  jsonData: {},
  meta: { id: 'tapedeck-traffic-datasource', info: {} },
};

async function request(o: any) {
  const response = await fetch(o.url, {
    method: o.method ?? 'GET',
    body: o.data ? JSON.stringify(o.data) : undefined,
    headers: { 'content-type': 'application/json', ...o.headers },
  });
  const body = await response.json();
  if (!response.ok) {
    throw { status: response.status, data: body };
  }
  return { data: body, status: response.status, ok: true, config: o };
}

runtime.config.namespace = 'default';
runtime.setBackendSrv({ fetch: (o: any) => rxjs.from(request(o)) } as any);
runtime.setTemplateSrv({
  replace: (s = '') => s,
  getVariables: () => [],
  containsTemplate: () => false,
  updateTimeRange: () => {},
} as any);
runtime.setDataSourceSrv({ getInstanceSettings: () => settings, getList: () => [settings] } as any);

/** The hour around the rows that the harness wrote. */
function timeRange(): any {
  const at = Number(new URLSearchParams(location.search).get('at'));
  const [from, to] = [data.dateTime(at - 1800e3), data.dateTime(at + 1800e3)];
  return { from, to, raw: { from, to } };
}

function Page({ plugin }: { plugin: any }) {
  const source = React.useMemo(() => new plugin.DataSourceClass(settings), [plugin]);
  const [options, setOptions] = React.useState<any>({ jsonData: {}, secureJsonFields: {}, secureJsonData: {} });
  const [query, setQuery] = React.useState<any>({ refId: 'A', ...source.getDefaultQuery('explore') });
  const [answer, setAnswer] = React.useState<any>();
  const { ConfigEditor, QueryEditor } = plugin.components;

  // As in Grafana, a query that is run is the one that was just changed.
  const newest = React.useRef(query);
  const change = (q: any) => {
    newest.current = q;
    setQuery(q);
  };

  const run = () =>
    source
      .query({
        requestId: 'Q1',
        targets: [newest.current],
        range: timeRange(),
        intervalMs: 10000,
        maxDataPoints: 500,
        scopedVars: {},
        app: 'explore',
        timezone: 'utc',
        startTime: 0,
        interval: '10s',
      })
      .subscribe({
        next: (r: any) =>
          setAnswer({
            queryType: newest.current.queryType,
            errors: r.errors?.map((e: any) => e.message),
            frames: r.data.map((frame: any) => ({
              refId: frame.refId,
              type: frame.meta?.type,
              fields: frame.fields.map((f: any) => ({ name: f.name, type: f.type, labels: f.labels, values: f.values })),
            })),
          }),
        error: (e: any) => setAnswer({ errors: [String(e?.data?.message ?? e)] }),
      });
  const test = () => source.testDatasource().then(setAnswer, (e: any) => setAnswer({ status: 'error', message: e.message }));

  return (
    <div style={{ padding: 16 }}>
      <section id="query">
        <QueryEditor query={query} onChange={change} onRunQuery={run} datasource={source} range={timeRange()} />
      </section>
      <section id="config">
        <ConfigEditor options={options} onOptionsChange={setOptions} />
      </section>
      <ui.Button onClick={run}>Run</ui.Button> <ui.Button onClick={test}>Test</ui.Button>
      <pre id="asked">{JSON.stringify({ query, options })}</pre>
      <pre id="answer">{answer && JSON.stringify(answer)}</pre>
    </div>
  );
}

load('/plugin/module.js').then(
  ({ plugin }) =>
    createRoot(document.getElementById('root')!).render(
      <data.ThemeContext.Provider value={data.createTheme({ colors: { mode: 'dark' } })}>
        <ui.GlobalStyles />
        <ui.PortalContainer />
        <Page plugin={plugin} />
      </data.ThemeContext.Provider>
    ),
  (err) => {
    document.body.innerText = `cannot load the plugin: ${err}`;
  }
);
