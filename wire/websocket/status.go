package websocket

import (
	"strconv"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// Close codes (RFC 6455, 7.4.1 and the registry that goes on from there).
const (
	codeNormal  = 1000
	codeAway    = 1001
	codeNone    = 1005 // a close without a code
	codeCut     = 1006 // no close at all
	codePrivate = 3000 // of libraries and applications, from here to 4999
)

const (
	closedWith = "closed with "
	byServer   = " by the server"
	byClient   = " by the client"
	closedCut  = closedWith + "1006: no close frame, "
)

// failure names the end of a stream; "" for an orderly one.
func failure(code int, by events.Side, err error) string {
	switch code {
	case codeNormal, codeAway, codeNone:
		return ""
	case codeCut:
		return closedCut + wire.Failure(err)
	}
	who := byServer
	if by == events.Side_REQUEST {
		who = byClient
	}
	return closedWith + strconv.Itoa(code) + who
}

// Status is "101" while the stream is open and after an orderly end, else the
// close code. Without an upgrade it is the answer's.
func Status(x *events.Exchange) string {
	code, ok := strings.CutPrefix(x.GetFailure(), closedWith)
	if !ok {
		return x.GetResponse().GetStatus()
	}
	return code[:max(0, strings.IndexAny(code, " :"))]
}

// Class sorts a stream by its close code: who closes with a complaint
// complains about the other side. Codes of an application that read like
// those of HTTP (4404, 4500) are taken as such.
func Class(x *events.Exchange) events.StatusClass {
	if x.GetFailure() == "" || strings.HasPrefix(x.Failure, wire.FailureGap) {
		return events.StatusClass_OK
	}
	byClient := strings.HasSuffix(x.Failure, byClient)
	code, err := strconv.Atoi(Status(x))
	switch {
	case err != nil || code == codeCut || code == 101:
		return events.StatusClass_FAILED
	case code >= codePrivate && code/100 != 44 && code/100 != 45 && byClient:
		return events.StatusClass_OK // its own way to say goodbye
	}
	theirs := code >= 1011 && code <= 1015 || code/100 == 45 // the trouble of who closes
	if theirs != byClient {
		return events.StatusClass_SERVER
	}
	return events.StatusClass_CLIENT
}
