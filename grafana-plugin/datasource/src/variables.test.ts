import { insideQuotes } from './variables';

describe('insideQuotes', () => {
  it('keeps one value, whatever it holds, inside the quotes', () => {
    expect(insideQuotes('cart')).toBe('cart');
    expect(insideQuotes('a"} || {error=true')).toBe('a\\"} || {error=true');
    expect(insideQuotes('back\\slash')).toBe('back\\\\slash');
    expect(insideQuotes('two\nlines')).toBe('two\\nlines');
  });

  it('makes an alternation of several values in which nothing else is special', () => {
    expect(insideQuotes(['cart', 'orders'])).toBe('cart|orders');
    expect(insideQuotes(['a.b', 'c|d'])).toBe('a\\\\.b|c\\\\|d');
  });

  it('leaves a pattern that is one value as it is', () => {
    expect(insideQuotes('.+')).toBe('.+');
  });
});
