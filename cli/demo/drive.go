package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// Drive is what customers of the shop at base do: several sessions at once,
// each with a log-in, some looking, a cart and an order. It returns how many
// requests were sent, and fails when the shop does not answer as it should.
func Drive(ctx context.Context, base string, rounds int) (int, error) {
	counts := make([]int, len(customers))
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range customers {
		group.Go(func() error {
			v := &visitor{client: newClient(nil), base: base, customer: c}
			defer v.client.http.CloseIdleConnections()
			defer func() { counts[i] = v.sent }()
			for round := range rounds {
				if err := v.visit(ctx, i, round); err != nil {
					return fmt.Errorf("visit of %s: %w", c.Name, err)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return total, err
}

// visitor is one customer with a connection of their own.
type visitor struct {
	client *client
	base   string
	customer
	token string
	sent  int
}

// visit is one session, from the log-in to the order.
func (v *visitor) visit(ctx context.Context, who, round int) error {
	v.token = ""
	if who == 1 && round == 0 {
		if err := v.expect(ctx, http.StatusUnauthorized, "POST", "/login", credentials{v.Email, "wrong"}, nil); err != nil {
			return err
		}
	}
	var in login
	if err := v.do(ctx, "POST", "/login", credentials{v.Email, v.password}, &in); err != nil {
		return err
	}
	v.token = in.Token
	if err := v.look(ctx, who); err != nil {
		return err
	}
	first, second := products[(who+round)%len(products)], products[(who+2*round+2)%len(products)]
	for _, item := range []Item{{SKU: first.SKU, Quantity: 1 + round%3}, {SKU: second.SKU, Quantity: 1}} {
		if err := v.do(ctx, "POST", "/cart/items", item, &cart{}); err != nil {
			return err
		}
	}
	if err := v.do(ctx, "GET", "/cart", nil, &cart{}); err != nil {
		return err
	}
	return v.buy(ctx, who, round)
}

func (v *visitor) look(ctx context.Context, who int) error {
	paths := []string{"/products", "/products?category=" + products[who].Category, "/products/" + products[who].SKU}
	if who == 0 {
		paths = append(paths, "/recommendations")
	}
	for _, path := range paths {
		if err := v.do(ctx, "GET", path, nil, &map[string]any{}); err != nil {
			return err
		}
	}
	return v.expect(ctx, http.StatusNotFound, "GET", "/products/no-such-thing", nil, nil)
}

// buy orders; one customer's first card is declined.
func (v *visitor) buy(ctx context.Context, who, round int) error {
	if who == 2 && round == 0 {
		if err := v.expect(ctx, http.StatusPaymentRequired, "POST", "/orders", checkout{declinedCard}, nil); err != nil {
			return err
		}
	}
	var order Order
	if err := v.do(ctx, "POST", "/orders", checkout{goodCard}, &order); err != nil {
		return err
	}
	if err := v.do(ctx, "GET", "/orders/"+order.ID, nil, &order); err != nil {
		return err
	}
	if order.Total != order.Subtotal+order.Tax+order.Shipping {
		return fmt.Errorf("order %s: the total %d is wrong", order.ID, order.Total)
	}
	return nil
}

func (v *visitor) do(ctx context.Context, method, path string, in, out any) error {
	v.sent++
	headers := map[string]string{"User-Agent": "demo-customer"}
	if v.token != "" {
		headers["Authorization"] = "Bearer " + v.token
	}
	return v.client.call(ctx, method, v.base+path, headers, in, out)
}

// expect sends what the shop must refuse with status.
func (v *visitor) expect(ctx context.Context, status int, method, path string, in, out any) error {
	err := v.do(ctx, method, path, in, out)
	if p, ok := errors.AsType[*problem](err); ok && p.Status == status {
		return nil
	}
	return fmt.Errorf("%s %s: want status %d, got %v", method, path, status, err)
}
