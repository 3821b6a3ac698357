import { CoreApp, FieldType, type DataSourceInstanceSettings, type ScopedVars, toDataFrame } from '@grafana/data';
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
});
