import { CoreApp, FieldType, type DataSourceInstanceSettings, type ScopedVars, dateTime, toDataFrame } from '@grafana/data';
import { setTemplateSrv, type TemplateSrv } from '@grafana/runtime';

import { TrafficDataSource } from './datasource';
import type { TrafficOptions, TrafficQuery } from './types';

const values: Record<string, unknown> = { service: ['cart', 'orders'], one: 'a"b', dir: 'inbound', by: ['service', 'host'] };

/** Replaces $name the way Grafana does, for the two kinds of format we use. */
function replace(target = '', _?: ScopedVars, format?: string | ((v: unknown) => string)): string {
  return target.replace(/\$(\w+)/g, (_all, name: string) => {
    const value = values[name];
    return typeof format === 'function' ? format(value) : Array.isArray(value) ? value.join(',') : String(value);
  });
}

function newDataSource() {
  setTemplateSrv({
    replace,
    containsTemplate: (s?: string) => /\$\w/.test(s ?? ''),
    getVariables: () => [],
    updateTimeRange: () => {},
  } as unknown as TemplateSrv);
  return new TrafficDataSource({ id: 1, uid: 'api-traffic', type: 'tapedeck-traffic-datasource', jsonData: {} } as DataSourceInstanceSettings<TrafficOptions>);
}

const query = (part: Partial<TrafficQuery>): TrafficQuery => ({ refId: 'A', queryType: 'traffic', ...part });

describe('TrafficDataSource', () => {
  it('begins with lines in Explore and with numbers elsewhere', () => {
    const ds = newDataSource();
    expect(ds.getDefaultQuery(CoreApp.Explore)).toEqual({ queryType: 'traffic' });
    expect(ds.getDefaultQuery(CoreApp.PanelEditor)).toEqual({ queryType: 'throughput' });
    expect(ds.getDefaultQuery(CoreApp.UnifiedAlerting)).toEqual({ queryType: 'throughput' });
  });

  it('fills template variables in and leaves the stored query alone', () => {
    const stored = query({ selector: '{service=~"$service" && host="$one"}', direction: '$dir' as 'inbound', groupBy: ['$by', 'method'] });
    const before = JSON.stringify(stored);
    const filled = newDataSource().applyTemplateVariables(stored, {});
    expect(filled).toEqual({
      ...stored,
      selector: '{service=~"cart|orders" && host="a\\"b"}',
      direction: 'inbound',
      groupBy: ['service', 'host', 'method'],
    });
    expect(JSON.stringify(stored)).toBe(before);
  });

  it('sends a query without variables as it is', () => {
    const plain = query({ selector: '{status>=500}' });
    expect(newDataSource().applyTemplateVariables(plain, {})).toEqual(plain);
  });

  it('tells Grafana which queries cannot become alert rules', () => {
    const ds = newDataSource();
    expect(ds.targetContainsTemplate(query({ selector: '{service="$one"}' }))).toBe(true);
    expect(ds.targetContainsTemplate(query({ groupBy: ['$by'] }))).toBe(true);
    expect(ds.targetContainsTemplate(query({ selector: '{service="cart"}', groupBy: ['host'] }))).toBe(false);
  });

  it('says what a query asks in one line', () => {
    const text = newDataSource().getQueryDisplayText(query({ direction: 'outbound', selector: '{error=true}' }));
    expect(text).toBe('traffic outbound {error=true}');
  });

  it('groups the labels of a line under headings', () => {
    const ds = newDataSource();
    const frame = toDataFrame({ fields: [{ name: 'labelTypes', type: FieldType.other, values: [{ host: 'E', session: 'X' }] }] });
    expect(ds.getLabelDisplayTypeFromFrame('host', frame, 0)).toBe('Endpoint');
    expect(ds.getLabelDisplayTypeFromFrame('session', frame, 0)).toBe('Exchange');
    expect(ds.getLabelDisplayTypeFromFrame('nothing', frame, 0)).toBeNull();
    expect(ds.getLabelDisplayTypeFromFrame('host', undefined, null)).toBeNull();
  });

  it('sends the ad-hoc filters of the dashboard along', () => {
    const filters = [{ key: 'host', operator: '=', value: 'a' }];
    expect(newDataSource().applyTemplateVariables(query({ filters }), {}, [{ key: 'path', operator: '!=', value: '$one' }]).filters).toEqual([
      ...filters,
      { key: 'path', operator: '!=', value: '$one' },
    ]);
    expect(newDataSource().applyTemplateVariables(query({}), {}, [])).toEqual(query({}));
  });

  it('fills what is one value', () => {
    const filled = newDataSource().applyTemplateVariables(query({ queryType: 'sequence', trace: '$one', key: '$dir' }), {});
    expect(filled.trace).toBe('a"b');
    expect(filled.key).toBe('inbound');
  });

  it('does not ask about one thing before it is named', () => {
    const ds = newDataSource();
    expect(ds.filterQuery(query({ queryType: 'exchange' }))).toBe(false);
    expect(ds.filterQuery(query({ queryType: 'sequence', session: 'x' }))).toBe(true);
    expect(ds.filterQuery(query({ queryType: 'values' }))).toBe(false);
    expect(ds.filterQuery(query({}))).toBe(true);
  });

  it('asks for keys and values within the range and the other filters', async () => {
    const ds = newDataSource();
    const asked: unknown[] = [];
    ds.getResource = (async (path: string, params: unknown) => {
      asked.push([path, params]);
      return [{ text: 'cart' }];
    }) as typeof ds.getResource;
    const timeRange = { from: dateTime(1000), to: dateTime(2000), raw: { from: '', to: '' } };
    const filters = [{ key: 'host', operator: '=', value: 'a' }];
    expect(await ds.getTagKeys({ filters, timeRange })).toEqual([{ text: 'cart' }]);
    await ds.getTagValues({ key: 'service', filters, timeRange });
    expect(asked).toEqual([
      ['keys', { from: 1000, to: 2000 }],
      ['values', { key: 'service', filters: JSON.stringify(filters), from: 1000, to: 2000 }],
    ]);
  });

  it('narrows the selector by the buttons beside a label', () => {
    const ds = newDataSource();
    const act = (type: string, key: string) => ds.modifyQuery(query({ selector: '{error}' }), { type, options: { key, value: 'x' } }).selector;
    expect(act('ADD_FILTER', 'host')).toBe('{(error) && host="x"}');
    expect(act('ADD_FILTER_OUT', 'tag.tenant')).toBe('{(error) && tag."tenant"!="x"}');
    expect(act('ADD_FILTER', 'peer')).toBe('{error}');
    expect(act('OTHER', 'host')).toBe('{error}');
  });

  it('lists values for variables and replays for annotations', () => {
    const ds = newDataSource();
    expect(ds.variables?.getDefaultQuery?.()).toEqual({ queryType: 'values', key: 'service' });
    expect(ds.annotations.getDefaultQuery?.()).toEqual({ queryType: 'replays' });
  });
});
