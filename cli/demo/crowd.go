package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// Crowd is many customers at once, for a shop with as many accounts and
// products. Each has an account and a card of their own; what they look at is
// as skewed as in any shop: a few products are much asked for.
type Crowd struct {
	Visitors int // at once
	Visits   int // of each
	Products int // of the shop, beyond its five
	Flat     int // the head of the distribution: with 10 the first of 1000 products gets 2.5 % of all requests, with 1 it gets 18 %
	Seed     uint64
}

// popularity is the exponent of the distribution of products (Zipf and
// Mandelbrot's law).
const popularity = 1.1

// Drive sends the crowd to the shop at base, and returns how many requests
// that were.
func (c Crowd) Drive(ctx context.Context, base string) (int, error) {
	sent := make([]int, c.Visitors)
	all := accounts(c.Visitors)[len(customers):]
	group, ctx := errgroup.WithContext(ctx)
	for i := range all {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(c.Seed, uint64(i)))
			taste := rand.NewZipf(random, popularity, float64(c.Flat), uint64(c.Products-1))
			v := &visitor{client: newClient(nil), base: base, customer: all[i]}
			defer v.client.http.CloseIdleConnections()
			defer func() { sent[i] = v.sent }()
			for n := range c.Visits {
				if err := v.stroll(ctx, i, n, taste); err != nil {
					return fmt.Errorf("visit %d of %s: %w", n, v.Name, err)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	return total, err
}

// stroll is a visit like those of the demo, but of what the visitor likes.
func (v *visitor) stroll(ctx context.Context, who, n int, taste *rand.Zipf) error {
	v.token = ""
	var in login
	if err := v.do(ctx, "POST", "/login", credentials{v.Email, v.password}, &in); err != nil {
		return err
	}
	v.token = in.Token
	pick := func() uint64 { return taste.Uint64() }
	paths := []string{fmt.Sprintf("/products?category=shelf-%d", pick()/perCategory), fmt.Sprintf("/products/mix-%d", pick())}
	if who%3 == 0 {
		paths = append(paths, "/recommendations")
	}
	for _, path := range paths {
		if err := v.do(ctx, "GET", path, nil, &map[string]any{}); err != nil {
			return err
		}
	}
	if err := v.expect(ctx, http.StatusNotFound, "GET", fmt.Sprintf("/products/nothing-%d", 1000*who+n), nil, nil); err != nil {
		return err
	}
	for range 2 {
		if err := v.do(ctx, "POST", "/cart/items", Item{SKU: fmt.Sprintf("mix-%d", pick()), Quantity: 1}, &cart{}); err != nil {
			return err
		}
	}
	return v.pay(ctx, fmt.Sprintf("4%015d", 1e9+who))
}

// pay orders what is in the cart.
func (v *visitor) pay(ctx context.Context, card string) error {
	var order Order
	if err := v.do(ctx, "POST", "/orders", checkout{card}, &order); err != nil {
		return err
	}
	return v.do(ctx, "GET", "/orders/"+order.ID, nil, &order)
}
