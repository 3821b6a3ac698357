package tapes

import "sync"

// cache remembers what never changes. At its bound it forgets the older half:
// an entry survives as long as it is asked for now and then.
type cache[K comparable, V any] struct {
	mu       sync.Mutex
	bound    int
	new, old map[K]V
}

func newCache[K comparable, V any](bound int) *cache[K, V] {
	return &cache[K, V]{bound: bound, new: map[K]V{}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.new[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.set(k, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(k, v)
}

func (c *cache[K, V]) set(k K, v V) {
	if len(c.new) >= c.bound/2 {
		c.new, c.old = map[K]V{}, c.new
	}
	c.new[k] = v
}
