import React, { useState } from 'react';
import { fireEvent, render, screen, within } from '@testing-library/react';

import { QueryEditor } from './QueryEditor';
import type { TrafficDataSource } from '../datasource';
import { type Field, fieldsOf } from '../fields';
import queryTypes from '../query_types.json';
import type { QueryType, TrafficQuery } from '../types';

const labels: Record<Field, string> = {
  direction: 'Both',
  selector: 'Selector',
  measure: 'Measure',
  groupBy: 'Group by',
  percentiles: 'Percentiles',
  orderBy: 'Order by',
  limit: 'Limit',
  exchange: 'Exchange',
  trace: 'Trace',
  session: 'Session',
  key: 'Values of',
  scenario: 'Scenario',
};

/** Keeps the query as a panel does and tells what was asked. */
function show(query: Partial<TrafficQuery>) {
  const asked = { query: { refId: 'A', queryType: 'traffic', ...query } as TrafficQuery, runs: 0 };
  function Panel() {
    const [current, setCurrent] = useState(asked.query);
    asked.query = current;
    return (
      <QueryEditor query={current} onChange={setCurrent} onRunQuery={() => asked.runs++} datasource={{} as TrafficDataSource} />
    );
  }
  render(<Panel />);
  return asked;
}

async function choose(label: string, option: string) {
  fireEvent.click(screen.getByLabelText(label));
  const list = await screen.findByRole('listbox');
  fireEvent.click(await within(list).findByText(option));
}

describe('QueryEditor', () => {
  it('shows what only throughput needs for throughput only', async () => {
    const asked = show({ measure: 'sources' });
    expect(screen.queryByLabelText('Measure')).toBeNull();
    await choose('Query type', 'Throughput');
    expect(asked.query.measure).toBeUndefined();
    expect(asked.query.queryType).toBe('throughput');
    expect(asked.runs).toBe(1);
    expect(screen.getByLabelText('Measure')).toBeTruthy();
    expect(screen.getByLabelText('Group by')).toBeTruthy();
  });

  it('takes a selector and runs it on Enter, not while it is typed', () => {
    const asked = show({});
    const input = screen.getByLabelText('Selector');
    fireEvent.change(input, { target: { value: '{status>=500}' } });
    expect(asked.query.selector).toBe('{status>=500}');
    expect(asked.runs).toBe(0);
    fireEvent.keyDown(input, { key: 'Enter' });
    expect(asked.runs).toBe(1);
  });

  it('narrows the direction and widens it again', () => {
    const asked = show({});
    fireEvent.click(screen.getByLabelText('Inbound'));
    expect(asked.query.direction).toBe('inbound');
    fireEvent.click(screen.getByLabelText('Both'));
    expect(asked.query.direction).toBeUndefined();
    expect(asked.runs).toBe(2);
  });

  it('changes the measure', async () => {
    const asked = show({ queryType: 'throughput' });
    await choose('Measure', 'Errors/s');
    expect(asked.query.measure).toBe('errors');
  });

  it('groups by more than one key', async () => {
    const asked = show({ queryType: 'throughput', groupBy: ['service'] });
    await choose('Group by', 'host');
    expect(asked.query.groupBy).toEqual(['service', 'host']);
  });

  it.each(queryTypes.map(({ value }) => value as QueryType))('shows what %s reads and nothing else', (queryType) => {
    show({ queryType });
    const shown = Object.keys(labels).filter((field) => screen.queryByLabelText(labels[field as Field]));
    expect(shown.sort()).toEqual([...fieldsOf[queryType]].sort());
  });

  it('takes percentiles as numbers, in their order', async () => {
    const asked = show({ queryType: 'latency', percentiles: [99] });
    await choose('Percentiles', '50');
    expect(asked.query.percentiles).toEqual([50, 99]);
  });

  it('ranks', async () => {
    const asked = show({ queryType: 'top' });
    await choose('Order by', 'Error rate');
    expect(asked.query.orderBy).toBe('error_rate');
    fireEvent.change(screen.getByLabelText('Limit'), { target: { value: '7' } });
    expect(asked.query.limit).toBe(7);
    fireEvent.change(screen.getByLabelText('Limit'), { target: { value: '' } });
    expect(asked.query.limit).toBeUndefined();
  });

  it('asks for one exchange once it is named', () => {
    const asked = show({ queryType: 'exchange' });
    fireEvent.change(screen.getByLabelText('Exchange'), { target: { value: '0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f' } });
    expect(asked.runs).toBe(0);
    fireEvent.keyDown(screen.getByLabelText('Exchange'), { key: 'Enter' });
    expect(asked.query.exchange).toBe('0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f');
    expect(asked.runs).toBe(1);
  });

  it('chooses the key of a variable', async () => {
    const asked = show({ queryType: 'values' });
    await choose('Values of', 'version');
    expect(asked.query.key).toBe('version');
  });
});
