import React, { useState } from 'react';
import type { DataSourceSettings } from '@grafana/data';
import { fireEvent, render, screen, within } from '@testing-library/react';

import { ConfigEditor } from './ConfigEditor';
import type { TrafficOptions, TrafficSecrets } from '../types';

type Settings = DataSourceSettings<TrafficOptions, TrafficSecrets>;

function show(settings: Partial<Settings>) {
  const kept = { settings: { jsonData: {}, secureJsonFields: {}, ...settings } as Settings };
  function Page() {
    const [current, setCurrent] = useState(kept.settings);
    kept.settings = current;
    return <ConfigEditor options={current} onOptionsChange={setCurrent} />;
  }
  render(<Page />);
  return kept;
}

const type = (label: RegExp, value: string) => fireEvent.change(screen.getByLabelText(label), { target: { value } });

describe('ConfigEditor', () => {
  it('keeps places in jsonData and the password in secureJsonData', () => {
    const kept = show({});
    type(/^Host/, 'timescaledb:5432');
    type(/^Database/, 'tapedeck');
    type(/^User/, 'reader');
    type(/^Password/, 'something long');
    type(/^Archive/, 's3://tapes/');
    type(/^NATS/, 'nats://nats:4222');
    expect(kept.settings.jsonData).toEqual({
      dbHost: 'timescaledb:5432',
      dbName: 'tapedeck',
      dbUser: 'reader',
      archiveUrl: 's3://tapes/',
      natsUrl: 'nats://nats:4222',
    });
    expect(kept.settings.secureJsonData).toEqual({ dbPassword: 'something long' });
  });

  it('never shows a stored password and lets go of it on reset', () => {
    const kept = show({ secureJsonFields: { dbPassword: true } });
    expect(screen.getByLabelText(/^Password/)).toHaveProperty('disabled', true);
    fireEvent.click(screen.getByText('Reset'));
    expect(kept.settings.secureJsonFields.dbPassword).toBe(false);
    expect(kept.settings.secureJsonData?.dbPassword).toBe('');
  });

  it('changes how the connection is encrypted', async () => {
    const kept = show({});
    fireEvent.click(screen.getByLabelText(/^TLS/));
    fireEvent.click(await within(await screen.findByRole('listbox')).findByText('verify-full'));
    expect(kept.settings.jsonData.sslMode).toBe('verify-full');
  });

  it('says where the traces of applications are', async () => {
    const kept = show({});
    type(/^Data source/, 'spans');
    fireEvent.click(screen.getByLabelText(/^Its type/));
    fireEvent.click(await within(await screen.findByRole('listbox')).findByText('Jaeger'));
    expect(kept.settings.jsonData).toEqual({ tracesUid: 'spans', tracesType: 'jaeger' });
  });
});
