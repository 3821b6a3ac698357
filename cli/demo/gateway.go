package demo

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// customer is an account of the shop.
type customer struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	password string
}

var customers = []customer{
	{"ada@example.com", "Ada", "analytical engine"},
	{"grace@example.com", "Grace", "found a moth"},
	{"linus@example.com", "Linus", "just for fun"},
}

// accounts are the customers and n further ones.
func accounts(n int) []customer {
	all := slices.Clone(customers)
	for i := range n {
		name := fmt.Sprintf("customer-%d", i)
		all = append(all, customer{name + "@example.com", name, "the password of " + name})
	}
	return all
}

// Known are the values that the shop's own people know of its customers, and
// redaction replaces: accounts and cards, one a line.
func Known() string {
	var b strings.Builder
	for _, c := range customers {
		fmt.Fprintf(&b, "%s\n%s\n", c.Email, c.password)
	}
	fmt.Fprintf(&b, "%s\n%s\n", goodCard, declinedCard)
	return b.String()
}

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

type login struct {
	Token     string    `json:"token"`
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at"`
}

// cart is what a customer wants to buy.
type cart struct {
	ID       string `json:"id"`
	Items    []Item `json:"items"`
	Subtotal int    `json:"subtotal"`
}

type checkout struct {
	Card string `json:"card"`
}

type gateway struct {
	client          *client
	orders, catalog string
	customers       []customer
	mu              sync.Mutex
	sessions        map[string]*session // by token
}

type session struct {
	customer
	cart cart
}

// newGateway is what customers talk to.
func newGateway(c *client, config Config) http.Handler {
	g := &gateway{client: c, orders: config.Orders, catalog: config.Catalog, customers: accounts(config.Customers), sessions: map[string]*session{}}
	mux := http.NewServeMux()
	mux.Handle("GET /health", endpoint(func(*http.Request) (int, any, error) { return http.StatusOK, map[string]string{"status": "ok"}, nil }))
	mux.Handle("POST /login", endpoint(g.login))
	mux.Handle("GET /products", endpoint(g.list))
	mux.Handle("GET /products/{sku}", endpoint(g.show))
	mux.Handle("GET /recommendations", g.known(g.recommend))
	mux.Handle("POST /cart/items", g.known(g.add))
	mux.Handle("GET /cart", g.known(g.showCart))
	mux.Handle("POST /orders", g.known(g.order))
	mux.Handle("GET /orders/{id}", g.known(g.showOrder))
	return mux
}

func (g *gateway) login(r *http.Request) (int, any, error) {
	given, err := read[credentials](r)
	if err != nil {
		return 0, nil, err
	}
	for _, c := range g.customers {
		if c.Email == given.Email && subtle.ConstantTimeCompare([]byte(c.password), []byte(given.Password)) == 1 {
			token := "tok_" + randomHex(16)
			g.mu.Lock()
			g.sessions[token] = &session{customer: c, cart: cart{ID: newID(), Items: []Item{}}}
			g.mu.Unlock()
			return http.StatusOK, login{token, c.Name, time.Now().UTC().Add(time.Hour)}, nil
		}
	}
	return 0, nil, &problem{http.StatusUnauthorized, "bad_credentials", "email or password is wrong"}
}

// known lets only customers in who have logged in.
func (g *gateway) known(next func(*http.Request, *session) (int, any, error)) http.Handler {
	return endpoint(func(r *http.Request) (int, any, error) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.mu.Lock()
		s := g.sessions[token]
		g.mu.Unlock()
		if s == nil {
			return 0, nil, &problem{http.StatusUnauthorized, "not_logged_in", "log in first"}
		}
		return next(r, s)
	})
}

// list passes the catalog's list on.
func (g *gateway) list(r *http.Request) (int, any, error) {
	var found map[string]any
	target := g.catalog + "/products"
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	err := g.client.call(r.Context(), "GET", target, nil, nil, &found)
	return http.StatusOK, found, err
}

func (g *gateway) show(r *http.Request) (int, any, error) {
	p, err := g.product(r, r.PathValue("sku"))
	return http.StatusOK, p, err
}

func (g *gateway) product(r *http.Request, sku string) (Product, error) {
	var p Product
	err := g.client.call(r.Context(), "GET", g.catalog+"/products/"+url.PathEscape(sku), nil, nil, &p)
	return p, err
}

// recommend thinks for a while: the shop's slow endpoint.
func (g *gateway) recommend(r *http.Request, s *session) (int, any, error) {
	select {
	case <-time.After(250 * time.Millisecond):
	case <-r.Context().Done():
		return 0, nil, r.Context().Err()
	}
	p, err := g.product(r, "book-tape")
	return http.StatusOK, map[string]any{"for": s.Name, "products": []Product{p}}, err
}

func (g *gateway) add(r *http.Request, s *session) (int, any, error) {
	item, err := read[Item](r)
	if err != nil {
		return 0, nil, err
	}
	p, err := g.product(r, item.SKU)
	if err != nil {
		return 0, nil, err
	}
	item.Price = p.Price
	g.mu.Lock()
	defer g.mu.Unlock()
	s.cart.Items = append(s.cart.Items, item)
	s.cart.Subtotal += item.Price * item.Quantity
	return http.StatusCreated, s.cart, nil
}

func (g *gateway) showCart(_ *http.Request, s *session) (int, any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return http.StatusOK, s.cart, nil
}

// order turns the cart into an order.
func (g *gateway) order(r *http.Request, s *session) (int, any, error) {
	c, err := read[checkout](r)
	if err != nil {
		return 0, nil, err
	}
	g.mu.Lock()
	items := append([]Item{}, s.cart.Items...)
	g.mu.Unlock()
	if len(items) == 0 {
		return 0, nil, &problem{http.StatusConflict, "empty_cart", "put something into the cart first"}
	}
	var order Order
	if err := g.client.call(r.Context(), "POST", g.orders+"/orders", nil, placeOrder{s.Email, items, c.Card}, &order); err != nil {
		return 0, nil, err
	}
	g.mu.Lock()
	s.cart.Items, s.cart.Subtotal = []Item{}, 0
	g.mu.Unlock()
	return http.StatusCreated, order, nil
}

func (g *gateway) showOrder(r *http.Request, _ *session) (int, any, error) {
	var order Order
	err := g.client.call(r.Context(), "GET", g.orders+"/orders/"+url.PathEscape(r.PathValue("id")), nil, nil, &order)
	return http.StatusOK, order, err
}
