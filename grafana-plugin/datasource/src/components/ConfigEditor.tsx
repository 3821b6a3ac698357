import React from 'react';
import type { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Combobox, Field, FieldSet, Input, SecretInput } from '@grafana/ui';

import type { SslMode, TracesType, TrafficOptions, TrafficSecrets } from '../types';

type Props = DataSourcePluginOptionsEditorProps<TrafficOptions, TrafficSecrets>;

const width = 50;

const sslModes: Array<{ label: SslMode; value: SslMode; description: string }> = [
  { label: 'require', value: 'require', description: 'Encrypted; whoever answers is trusted' },
  { label: 'verify-full', value: 'verify-full', description: 'Encrypted; certificate and host name are checked' },
  { label: 'verify-ca', value: 'verify-ca', description: 'Encrypted; the certificate is checked' },
  { label: 'prefer', value: 'prefer', description: 'Encrypted when the server can' },
  { label: 'disable', value: 'disable', description: 'Not encrypted' },
];

const tracesTypes: Array<{ label: string; value: TracesType }> = [
  { label: 'Tempo', value: 'tempo' },
  { label: 'Jaeger', value: 'jaeger' },
];

/** Where the index, the archive, NATS and traces are. */
export function ConfigEditor({ options, onOptionsChange }: Props) {
  const { jsonData, secureJsonData, secureJsonFields } = options;
  const change = (part: Partial<TrafficOptions>) => onOptionsChange({ ...options, jsonData: { ...jsonData, ...part } });
  const changePassword = (dbPassword: string) =>
    onOptionsChange({ ...options, secureJsonData: { ...secureJsonData, dbPassword } });
  const forgetPassword = () =>
    onOptionsChange({
      ...options,
      secureJsonFields: { ...secureJsonFields, dbPassword: false },
      secureJsonData: { ...secureJsonData, dbPassword: '' },
    });

  const text = (
    key: Exclude<keyof TrafficOptions, 'sslMode' | 'tracesType'>,
    label: string,
    description: string,
    placeholder: string,
    required = false
  ) => (
    <Field label={label} description={description} required={required} htmlFor={key}>
      <Input
        id={key}
        width={width}
        placeholder={placeholder}
        value={(jsonData[key] as string | undefined) ?? ''}
        onChange={(e) => change({ [key]: e.currentTarget.value })}
      />
    </Field>
  );

  return (
    <>
      <FieldSet label="Index (TimescaleDB)">
        {text('dbHost', 'Host', 'Host and port, or the folder of a Unix socket', 'timescaledb:5432', true)}
        {text('dbName', 'Database', 'The database that the indexer writes', 'tapedeck', true)}
        {text('dbUser', 'User', 'A user who may only read is enough', 'grafana_reader', true)}
        <Field label="Password" description="Kept encrypted by Grafana, never sent back" htmlFor="dbPassword">
          <SecretInput
            id="dbPassword"
            width={width}
            isConfigured={secureJsonFields?.dbPassword ?? false}
            value={secureJsonData?.dbPassword ?? ''}
            onChange={(e) => changePassword(e.currentTarget.value)}
            onReset={forgetPassword}
          />
        </Field>
        <Field label="TLS" description="How the connection is encrypted" htmlFor="sslMode">
          <Combobox
            id="sslMode"
            width={width}
            options={sslModes}
            value={jsonData.sslMode ?? 'require'}
            onChange={({ value }) => change({ sslMode: value })}
          />
        </Field>
      </FieldSet>
      <FieldSet label="Archive and events">
        {text(
          'archiveUrl',
          'Archive',
          'Where the tapes are; checked by “Save & test” when given. S3 credentials come from the environment of the plugin',
          's3://bucket/prefix?region=eu-central-1'
        )}
        {text('natsUrl', 'NATS', 'Where the events are; checked by “Save & test” when given', 'nats://nats:4222')}
      </FieldSet>
      <FieldSet label="Traces of the applications">
        {text('tracesUid', 'Data source', 'The uid of the Tempo or Jaeger that exchanges link to by their trace', 'tempo')}
        <Field label="Its type" description="What its queries look like" htmlFor="tracesType">
          <Combobox
            id="tracesType"
            width={width}
            options={tracesTypes}
            value={jsonData.tracesType ?? 'tempo'}
            onChange={({ value }) => change({ tracesType: value })}
          />
        </Field>
      </FieldSet>
    </>
  );
}
