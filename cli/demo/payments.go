package demo

import (
	"net/http"
	"time"
)

// The two cards of the demo.
const (
	goodCard     = "4242424242424242"
	declinedCard = "4000000000000002"
)

// charge is what the payment API is asked.
type charge struct {
	Amount    int    `json:"amount"` // cents
	Currency  string `json:"currency"`
	Card      string `json:"card"`
	Reference string `json:"reference"` // the order's id
}

// charged is what it answers.
type charged struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Amount  int       `json:"amount"`
	Created time.Time `json:"created"`
}

// newPayments is the payment API of somebody else.
func newPayments() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/charges", endpoint(func(r *http.Request) (int, any, error) {
		if r.Header.Get("Authorization") == "" {
			return 0, nil, &problem{http.StatusUnauthorized, "no_api_key", "send your API key"}
		}
		c, err := read[charge](r)
		if err != nil {
			return 0, nil, err
		}
		if c.Card == declinedCard {
			return 0, nil, &problem{http.StatusPaymentRequired, "card_declined", "the bank refused the charge"}
		}
		return http.StatusCreated, charged{"ch_" + randomHex(16), "succeeded", c.Amount, time.Now().UTC()}, nil
	}))
	return mux
}
