package grpc

import (
	"tapedeck/events"
)

// The status codes by number.
var names = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// Status is the name of a call's status, "" when none came: grpc-status in the
// trailers, or in the head of an answer that consists of it alone. An answer
// that is not gRPC's, of a proxy on the way, has the status that gRPC gives to
// its HTTP status.
func Status(x *events.Exchange) string {
	r := x.GetResponse()
	if r == nil {
		return ""
	}
	number := events.HeaderValue(r.Trailers, "grpc-status")
	if number == "" {
		number = events.HeaderValue(r.Headers, "grpc-status")
	}
	if number != "" {
		return codeName(number)
	}
	if r.Status == "200" {
		return ""
	}
	return fromHTTP(r.Status)
}

// codeName gives numbers that nobody has defined the meaning UNKNOWN.
func codeName(number string) string {
	n := 0
	for _, c := range []byte(number) {
		if c < '0' || c > '9' || n >= len(names) {
			return "UNKNOWN"
		}
		n = n*10 + int(c-'0')
	}
	if n >= len(names) {
		return "UNKNOWN"
	}
	return names[n]
}

// fromHTTP is the table "HTTP to gRPC Status Code Mapping" of gRPC's documentation.
func fromHTTP(status string) string {
	switch status {
	case "400":
		return "INTERNAL"
	case "401":
		return "UNAUTHENTICATED"
	case "403":
		return "PERMISSION_DENIED"
	case "404":
		return "UNIMPLEMENTED"
	case "429", "502", "503", "504":
		return "UNAVAILABLE"
	}
	return "UNKNOWN"
}

// class says whose fault a status is, as OpenTelemetry's conventions for gRPC
// servers do.
func class(x *events.Exchange, status string) events.StatusClass {
	if x.Failure != "" || status == "" {
		return events.StatusClass_FAILED
	}
	switch status {
	case "OK":
		return events.StatusClass_OK
	case "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS":
		return events.StatusClass_SERVER
	}
	return events.StatusClass_CLIENT
}
