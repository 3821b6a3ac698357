/** A selector with one more condition. */
export function withCondition(selector: string | undefined, key: string, operator: '=' | '!=', value: string): string {
  const condition = `${quoteTag(key)}${operator}${quote(value)}`;
  const before = (selector ?? '').trim().replace(/^\{([\s\S]*)\}$/, '$1').trim();
  return before ? `{(${before}) && ${condition}}` : `{${condition}}`;
}

function quoteTag(key: string): string {
  return key.startsWith('tag.') ? `tag.${quote(key.slice('tag.'.length))}` : key;
}

function quote(s: string): string {
  return `"${s.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}
