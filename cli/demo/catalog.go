package demo

import (
	"net/http"
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

// newCatalog is the catalog service: it only reads.
func newCatalog() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /products", endpoint(listProducts))
	mux.Handle("GET /products/{sku}", endpoint(getProduct))
	return mux
}

func listProducts(r *http.Request) (int, any, error) {
	category := r.URL.Query().Get("category")
	found := []Product{}
	for _, p := range products {
		if category == "" || p.Category == category {
			found = append(found, p)
		}
	}
	return http.StatusOK, map[string]any{"products": found, "count": len(found)}, nil
}

func getProduct(r *http.Request) (int, any, error) {
	sku := r.PathValue("sku")
	for _, p := range products {
		if strings.EqualFold(p.SKU, sku) {
			return http.StatusOK, p, nil
		}
	}
	return 0, nil, &problem{http.StatusNotFound, "unknown_item", "no product has the sku " + sku}
}
