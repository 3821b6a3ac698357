package wire

import (
	"crypto/sha256"
	"strings"

	"tapedeck/events"
)

// Session is the session that request headers name: the hash of the token in
// Authorization, else of the session cookie; zero without either (then it is
// the connection's). Headers are redacted, and equal tokens stay equal.
func Session(fields []*events.Field) events.SessionID {
	var cookie string
	for _, f := range fields {
		switch {
		case nameIsFold(f.Name, "Authorization"):
			if id := identity(string(f.Value)); id != "" {
				return hashSession("authorization", id)
			}
		case nameIsFold(f.Name, "Cookie") && cookie == "":
			cookie = sessionCookie(string(f.Value))
		}
	}
	if cookie == "" {
		return events.SessionID{}
	}
	return hashSession("cookie", cookie)
}

// ConnectionSession is the session of exchanges that name none.
func ConnectionSession(connection events.ID) events.SessionID {
	return hashSession("connection", string(connection[:]))
}

func hashSession(kind, value string) events.SessionID {
	var room [256]byte
	sum := sha256.Sum256(append(append(append(room[:0], kind...), 0), value...))
	return events.SessionID(sum[:16])
}

// identity is the part of an Authorization value that stays the same from one
// request to the next: signing schemes (AWS4-HMAC-SHA256, Digest, Hawk) name
// who signs in a parameter, all others are the token itself.
func identity(value string) string {
	scheme, rest, ok := strings.Cut(value, " ")
	if !ok {
		return value
	}
	for _, name := range []string{"Credential=", "username=", "keyId=", "id="} {
		if i := strings.Index(rest, name); i >= 0 && (i == 0 || strings.IndexByte(" ,", rest[i-1]) >= 0) {
			who, _, _ := strings.Cut(rest[i+len(name):], ",")
			who, _, _ = strings.Cut(who, "/") // an AWS credential goes on with its day and region
			return scheme + " " + strings.Trim(who, `" `)
		}
	}
	return value
}

// sessionCookie is the cookie that most likely names the session.
func sessionCookie(header string) string {
	found, best := "", 0
	for pair := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if rank := sessionRank(strings.ToLower(name)); rank > best && value != "" {
			found, best = name+"="+value, rank
		}
	}
	return found
}

// sessionRank is how sure it is that a cookie of that name is a session's.
func sessionRank(name string) int {
	switch name {
	case "sid", "connect.sid", "jsessionid", "phpsessid", "asp.net_sessionid", "session", "sessionid", "session_id", "session-id":
		return 3
	}
	if strings.Contains(name, "sess") {
		return 2
	}
	if strings.Contains(name, "token") && !strings.Contains(name, "csrf") && !strings.Contains(name, "xsrf") || strings.Contains(name, "auth") {
		return 1
	}
	return 0
}
