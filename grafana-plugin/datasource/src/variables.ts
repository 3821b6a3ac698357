/**
 * Writes the value of a template variable as it has to stand between the quotes
 * of a selector: service="$service" for one value, service=~"$service" for many.
 * Several values become an alternation in which nothing else is special; one
 * value stays as it is, so that a pattern typed into a text box works.
 */
export function insideQuotes(value: unknown): string {
  if (Array.isArray(value)) {
    return escapeString(value.map((v) => escapePattern(String(v))).join('|'));
  }
  return escapeString(String(value));
}

function escapePattern(s: string): string {
  return s.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}

function escapeString(s: string): string {
  return s.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n');
}
