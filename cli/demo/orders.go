package demo

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

// The price rules: 8 % tax, free shipping from 50.00 on.
const (
	taxPercent   = 8
	shippingCost = 495
	freeShipping = 5000
)

// Item is a line of a cart or an order.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    int    `json:"price"` // cents, of one
}

// Order is an order that was paid.
type Order struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Status    string    `json:"status"`
	Customer  string    `json:"customer"`
	Items     []Item    `json:"items"`
	Subtotal  int       `json:"subtotal"`
	Tax       int       `json:"tax"`
	Shipping  int       `json:"shipping"`
	Total     int       `json:"total"`
	Payment   string    `json:"payment"`
}

// placeOrder is what the orders service is asked.
type placeOrder struct {
	Customer string `json:"customer"`
	Items    []Item `json:"items"`
	Card     string `json:"card"`
}

type orders struct {
	client            *client
	catalog, payments string
	regression        bool
	mu                sync.Mutex
	placed            map[string]*Order
}

// newOrders is the orders service: it prices, charges and keeps orders.
func newOrders(c *client, config Config) http.Handler {
	o := &orders{client: c, catalog: config.Catalog, payments: config.Payments, regression: config.Regression, placed: map[string]*Order{}}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", endpoint(o.place))
	mux.Handle("GET /orders/{id}", endpoint(o.get))
	return mux
}

func (o *orders) place(r *http.Request) (int, any, error) {
	request, err := read[placeOrder](r)
	if err != nil {
		return 0, nil, err
	}
	order := &Order{ID: newID(), CreatedAt: time.Now().UTC(), Status: "paid", Customer: request.Customer}
	if err := o.price(r, order, request.Items); err != nil {
		return 0, nil, err
	}
	if err := o.charge(r, order, request.Card); err != nil {
		return 0, nil, err
	}
	if o.regression {
		order.Total = order.Subtotal + order.Shipping // what a release could forget: the tax
	}
	o.mu.Lock()
	o.placed[order.ID] = order
	o.mu.Unlock()
	return http.StatusCreated, order, nil
}

func (o *orders) price(r *http.Request, order *Order, items []Item) error {
	for _, item := range items {
		var p Product
		if err := o.client.call(r.Context(), "GET", o.catalog+"/products/"+url.PathEscape(item.SKU), nil, nil, &p); err != nil {
			return err
		}
		item.Price = p.Price
		order.Items = append(order.Items, item)
		order.Subtotal += p.Price * item.Quantity
	}
	order.Tax = (order.Subtotal*taxPercent + 50) / 100
	if order.Subtotal < freeShipping {
		order.Shipping = shippingCost
	}
	order.Total = order.Subtotal + order.Tax + order.Shipping
	return nil
}

func (o *orders) charge(r *http.Request, order *Order, card string) error {
	var paid charged
	key := map[string]string{"Authorization": "Bearer key-of-the-demo-shop"}
	request := charge{Amount: order.Total, Currency: "EUR", Card: card, Reference: order.ID}
	if err := o.client.call(r.Context(), "POST", o.payments+"/v1/charges", key, request, &paid); err != nil {
		return err
	}
	order.Payment = paid.ID
	return nil
}

func (o *orders) get(r *http.Request) (int, any, error) {
	o.mu.Lock()
	order, ok := o.placed[r.PathValue("id")]
	o.mu.Unlock()
	if !ok {
		return 0, nil, &problem{http.StatusNotFound, "unknown_order", "no order has the id " + r.PathValue("id")}
	}
	return http.StatusOK, order, nil
}
