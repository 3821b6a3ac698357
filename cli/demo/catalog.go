package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Product is something to buy. Prices are in cents.
type Product struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Price    int    `json:"price"`
}

var products = []Product{
	{"tea-100", "Darjeeling, 100 g", "tea", 890},
	{"tea-250", "Assam, 250 g", "tea", 1450},
	{"pot-1", "Teapot, cast iron", "pottery", 4900},
	{"cup-4", "Cups, set of four", "pottery", 2200},
	{"book-tape", "The art of the mixtape", "books", 1995},
}

// perCategory is how many of the further products are listed together.
const perCategory = 10

// shelf are the products and n further ones.
func shelf(n int) []Product {
	all := slices.Clone(products)
	for i := range n {
		all = append(all, Product{fmt.Sprintf("mix-%d", i), fmt.Sprintf("Mixtape %d", i), fmt.Sprintf("shelf-%d", i/perCategory), 500 + 37*i%4000})
	}
	return all
}

type catalog struct{ products []Product }

// newCatalog is the catalog service: it only reads.
func newCatalog(config Config) http.Handler {
	c := &catalog{shelf(config.Products)}
	mux := http.NewServeMux()
	mux.Handle("GET /products", endpoint(c.list))
	mux.Handle("GET /products/{sku}", endpoint(c.get))
	return mux
}

func (c *catalog) list(r *http.Request) (int, any, error) {
	category := r.URL.Query().Get("category")
	found := []Product{}
	for _, p := range c.products {
		if category == "" || p.Category == category {
			found = append(found, p)
		}
	}
	return http.StatusOK, map[string]any{"products": found, "count": len(found)}, nil
}

func (c *catalog) get(r *http.Request) (int, any, error) {
	sku := r.PathValue("sku")
	for _, p := range c.products {
		if strings.EqualFold(p.SKU, sku) {
			return http.StatusOK, p, nil
		}
	}
	return 0, nil, &problem{http.StatusNotFound, "unknown_item", "no product has the sku " + sku}
}
