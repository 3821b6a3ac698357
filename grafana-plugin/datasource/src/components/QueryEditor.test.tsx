import React, { useState } from 'react';
import { fireEvent, render, screen, within } from '@testing-library/react';

import { QueryEditor } from './QueryEditor';
import type { TrafficDataSource } from '../datasource';
import type { TrafficQuery } from '../types';

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
  it('shows what only throughput needs for throughput only', () => {
    const asked = show({});
    expect(screen.queryByLabelText('Measure')).toBeNull();
    fireEvent.click(screen.getByLabelText('Throughput'));
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
});
