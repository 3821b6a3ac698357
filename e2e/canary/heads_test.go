package canary

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

const jsonType, formType = "application/json", "application/x-www-form-urlencoded"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// headers is a letter with headers alone.
func headers(pairs ...string) letter { return letter{headers: pairs} }

// heads are the places outside of bodies.
func heads() []place {
	return slices.Concat(targets, credentials, namedHeaders(), anyHeaders(), trailers)
}

var targets = []place{
	byName("query by name", func(s string) letter { return letter{query: "access_token=" + s} }),
	byName("query by a name in brackets", func(s string) letter { return letter{query: "user%5Bpassword%5D=" + s + "&user[pin]=1"} }),
	byName("query by an encoded name", func(s string) letter { return letter{query: "a=1&pass%77ord=" + s} }),
	byName("query, a name twice", func(s string) letter { return letter{query: "token=x&token=" + s} }),
	byName("query, pairs between semicolons", func(s string) letter { return letter{query: "a=1;password=" + s + ";b=2"} }),
	byName("query, a JSON value", func(s string) letter {
		return letter{query: "variables=" + url.QueryEscape(`{"input":{"password":"`+s+`"}}`)}
	}),
	byName("query, a URL with a query", func(s string) letter {
		return letter{query: "next=" + url.QueryEscape("https://shop.example/cb?token="+s)}
	}),
	byLooks("query", func(s string) letter { return letter{query: "q=" + url.QueryEscape(s)} }),
	byLooks("query, percent-encoded twice", func(s string) letter { return letter{query: "q=" + url.QueryEscape(url.QueryEscape(s))} }),
	byLooks("query in base64", func(s string) letter { return letter{query: "q=" + url.QueryEscape(b64("hello "+s))} }),
	byLooks("query without a name", func(s string) letter { return letter{query: url.QueryEscape(s)} }),
	byLooks("query as a name", func(s string) letter { return letter{query: url.QueryEscape(s) + "=1"} }),
	byLooks("path", func(s string) letter { return letter{path: "/users/" + url.PathEscape(s) + "/orders"} }),
	byLooks("path, percent-encoded twice", func(s string) letter { return letter{path: "/users/" + url.PathEscape(url.QueryEscape(s)) + "/orders"} }),
	byLooks("path in base64", func(s string) letter {
		return letter{path: "/next/" + base64.RawURLEncoding.EncodeToString([]byte("user="+s)) + "/x"}
	}),
	byName("path parameter", func(s string) letter { return letter{path: "/users;password=" + s + "/orders"} }),
}

var credentials = []place{
	byName("Authorization Bearer", func(s string) letter { return headers("Authorization", "Bearer "+s) }),
	byName("Authorization without a scheme", func(s string) letter { return headers("Authorization", s) }),
	byName("Authorization Basic", func(s string) letter { return headers("Authorization", "Basic "+b64("u:"+s)) }),
	byName("Authorization of a scheme of its own", func(s string) letter { return headers("Authorization", "Shop-Key  "+s) }),
	byName("Authorization Digest", func(s string) letter {
		return headers("Authorization", `Digest username="u", realm="r", uri="/", response="`+s+`", cnonce="`+s+`"`)
	}),
	byName("Authorization AWS4", func(s string) letter {
		return headers("Authorization", "AWS4-HMAC-SHA256 Credential="+s+"/20260101/eu/s3/aws4_request, SignedHeaders=host, Signature="+s)
	}),
	byName("Authorization OAuth", func(s string) letter {
		return headers("Authorization", `OAuth oauth_consumer_key="k", oauth_token="`+s+`", oauth_signature="`+s+`"`)
	}),
	byName("Authorization twice", func(s string) letter { return headers("Authorization", "Basic eDp5", "Authorization", "Bearer "+s) }),
	byName("authorization in small letters", func(s string) letter { return headers("authorization", "bearer "+s) }),
	byName("Proxy-Authorization to the service", func(s string) letter { return headers("Proxy-Authorization", "Basic "+b64("u:"+s)) }),
	byName("Cookie", func(s string) letter { return headers("Cookie", "a=b; sid="+s) }),
	byName("Cookie without a name", func(s string) letter { return headers("Cookie", s+"; a=b") }),
	byName("Cookie in quotes", func(s string) letter { return headers("Cookie", `a=b; x="`+s+`"`) }),
	byLooks("Cookie's name", func(s string) letter { return headers("Cookie", s+"=1; a=b") }),
	byName("Set-Cookie", func(s string) letter { return headers("Set-Cookie", "sid="+s+"; Path=/; HttpOnly") }),
	byLooks("Set-Cookie's path", func(s string) letter { return headers("Set-Cookie", "a=b; Path=/users/"+s+"; Secure") }),
	byName("Referer's userinfo", func(s string) letter { return headers("Referer", "https://u:"+s+"@shop.example/a") }),
	byName("Referer's query", func(s string) letter { return headers("Referer", "https://shop.example/a?b=c&session_id="+s) }),
	byLooks("Referer's path", func(s string) letter { return headers("Referer", "https://shop.example/users/"+url.PathEscape(s)) }),
	byName("Location's fragment", func(s string) letter { return headers("Location", "https://shop.example/cb?n=1#access_token="+s) }),
	byName("Location within Location", func(s string) letter {
		return headers("Location", "/login?return="+url.QueryEscape("https://shop.example/?api_key="+s))
	}),
	byName("Link", func(s string) letter { return headers("Link", "<https://shop.example/?token="+s+">; rel=next") }),
	byName("Refresh", func(s string) letter { return headers("Refresh", "0; url=https://shop.example/?token="+s) }),
	byName("gRPC's binary metadata", func(s string) letter {
		return headers("Trace-State-Bin", base64.RawStdEncoding.EncodeToString([]byte(s)))
	}),
}

// namedHeaders are those whose names say that a secret follows.
func namedHeaders() (all []place) {
	for _, name := range strings.Fields(`X-Api-Key Api-Key Apikey X-Auth-Token X-Access-Token X-Csrf-Token X-Xsrf-Token X-Amz-Security-Token X-Vault-Token
		Private-Token X-Goog-Api-Key Ocp-Apim-Subscription-Key X-Functions-Key X-Gitlab-Token X-Shopify-Access-Token X-Webhook-Secret Dd-Api-Key
		X-Hub-Signature X-Client-Secret X-Password X-Session-Id X-Otp X-Amzn-Oidc-Accesstoken X-Forwarded-Access-Token`) {
		all = append(all, byName(name, func(s string) letter { return headers(name, s) }))
	}
	return all
}

// anyHeaders are all others, in which a secret is found by its looks.
func anyHeaders() (all []place) {
	for _, name := range strings.Fields(`X-Note X-User From User-Agent Forwarded X-Forwarded-For Via Accept Accept-Language Cache-Control Content-Language
		Content-Location Content-Disposition Etag If-None-Match If-Match Server Www-Authenticate Proxy-Authenticate Origin Warning Alt-Svc Expires Date Age Vary
		Traceparent Tracestate Baggage Grpc-Timeout Sec-Websocket-Key Sec-Websocket-Protocol Last-Modified Pragma Range X-Request-Id X-Original-Url Authentication-Info`) {
		all = append(all, byLooks(name, func(s string) letter { return headers(name, `x; a="for `+s+`"`) }))
	}
	return append(all,
		always(key, byLooks("a header's name", func(s string) letter { return headers("X-"+s, "1") })),
		byLooks("Content-Type", func(s string) letter { return letter{contentType: `text/plain; owner="` + s + `"`, body: "hello"} }),
		byLooks("a header, JSON", func(s string) letter { return headers("X-Context", `{"user":{"a":"`+s+`"}}`) }),
		byName("a header, JSON by name", func(s string) letter { return headers("X-Context", `{"user":{"password":"`+s+`"}}`) }),
		byName("a header, JSON in base64", func(s string) letter { return headers("X-Context", b64(`{"user":{"password":"`+s+`"}}`)) }),
		byLooks("a header in base64 twice", func(s string) letter {
			return letter{headers: []string{"X-Context", b64(b64("user " + s))}, as: []string{b64(b64("user " + s))}}
		}),
		byLooks("a header, percent-encoded twice", func(s string) letter { return headers("X-Context", url.QueryEscape(url.QueryEscape("user "+s))) }),
		byLooks("a header twice", func(s string) letter { return headers("X-Note", "a", "X-Note", s) }),
	)
}

var trailers = []place{
	byLooks("trailer", func(s string) letter { return letter{body: "x", trailers: []string{"X-End", "of " + s}} }),
	byName("trailer by name", func(s string) letter { return letter{body: "x", trailers: []string{"X-Auth-Token", s}} }),
}
