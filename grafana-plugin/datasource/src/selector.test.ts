import { withCondition } from './selector';

describe('withCondition', () => {
  it('begins a selector', () => {
    expect(withCondition(undefined, 'service', '=', 'cart')).toBe('{service="cart"}');
    expect(withCondition('{}', 'service', '!=', 'cart')).toBe('{service!="cart"}');
  });

  it('narrows a selector whatever is in it', () => {
    expect(withCondition('{error || status="404"}', 'host', '=', 'a')).toBe('{(error || status="404") && host="a"}');
    expect(withCondition('service="cart"', 'host', '!=', 'a')).toBe('{(service="cart") && host!="a"}');
  });

  it('keeps values and names of tags inside their quotes', () => {
    expect(withCondition('', 'path', '=', '/a"b\\c\nd')).toBe('{path="/a\\"b\\\\c\\nd"}');
    expect(withCondition('', 'tag.x y', '=', '1')).toBe('{tag."x y"="1"}');
  });
});
