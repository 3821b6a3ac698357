package fidelity

import (
	"fmt"
	"slices"
	"strings"
)

// The requests that are mutated.
const (
	get     = "GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"
	post    = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
	chunked = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
	last    = "GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)

// cases are all conversations of the suite.
func cases() []*talk {
	var all []*talk
	for _, group := range []struct {
		name  string
		talks []*talk
	}{
		{"transfer-encoding", codings()},
		{"content-length", lengths()},
		{"chunks", chunks()},
		{"request line", requestLines()},
		{"headers", headers()},
		{"line ends", lineEnds()},
		{"large", large()},
		{"pipelined", pipelined()},
		{"expect and upgrade", expectations()},
		{"not http", strangers()},
		{"cut", cut()},
		{"split", split()},
		{"waiting", waiting()},
	} {
		for i, k := range group.talks {
			k.name = fmt.Sprintf("%s/%d %.50q", group.name, i, k.said())
			all = append(all, k)
		}
	}
	return all
}

// each says every text on a connection of its own.
func each(texts ...string) []*talk {
	var all []*talk
	for _, text := range texts {
		all = append(all, &talk{pieces: []string{text}})
	}
	return all
}

// fill puts every value into a text's %s.
func fill(text string, values []string) []*talk {
	var all []*talk
	for _, v := range values {
		all = append(all, each(strings.ReplaceAll(text, "%s", v))...)
	}
	return all
}

// codings say that the body is chunked, or nearly so, alone and together with
// a length: where a request ends is a matter of opinion.
func codings() []*talk {
	spellings := []string{
		"Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding:chunked", "Transfer-Encoding:\tchunked",
		"tRANSFER-eNCODING: CHUNKED", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
		"Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x00", "Transfer-Encoding: chunked \t",
		"Transfer-Encoding:\r\n chunked", "Transfer-Encoding:\n chunked", "X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked",
		"Transfer-Encoding: chunk\r\n ed", "\x00Transfer-Encoding: chunked", "Transfer_Encoding: chunked", " Transfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding:", "Transfer-Encoding: ,chunked", "Transfer-Encoding\r\n: chunked",
	}
	var all []*talk
	for _, frame := range []string{
		"POST /a HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n0\r\n\r\n" + last,                                          // TE alone
		"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n%s\r\n\r\n0\r\n\r\nG",                           // CL.TE
		"POST /a HTTP/1.1\r\nHost: h\r\n%s\r\nContent-Length: 4\r\n\r\n29\r\nGET /s HTTP/1.1\r\n0\r\n\r\n",   // TE.CL
		"POST /a HTTP/1.0\r\nHost: h\r\n%s\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\n0\r\n\r\nG", // of a version without codings
	} {
		all = append(all, fill(frame, spellings)...)
	}
	return all
}

func lengths() []*talk {
	return slices.Concat(
		fill("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:%s\r\n\r\nhello"+last, []string{
			"5", " 5", " 05", " +5", " -5", " 5 ", " 5\t", "\t5", " 5, 5", " 5,6", " 5,", " 0x5", " 5.0", " 5e0", "", " ", " 0", " -0", " five", " 5;", " 5\x00", " \x0b5",
			" 4", " 6", " 99999999999999999999", " 18446744073709551621", " 9223372036854775807", " 9223372036854775808", "\r\n 5", " 5\r\n 0", " 5_0",
			" 5\r\nContent-Length: 5", " 5\r\nContent-Length: 0", " 0\r\nContent-Length: 5", " 5\r\ncontent-length: 05", " 5\r\nContent_Length: 0", " 5\r\nContent-Length : 0",
		}),
		each("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"+last, "HEAD /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"+last, "POST /a HTTP/1.1\r\nHost: h\r\n\r\n"+last),
	)
}

func chunks() []*talk {
	const frame = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	return slices.Concat(
		fill(frame+"%s\r\nhello\r\n0\r\n\r\n"+last, []string{
			"5", "05", "0000000000000005", "00000000000000000000005", "5 ", " 5", "5\t", "+5", "-5", "0x5", "5;a=b", "5;a=\"b;c\"", "5;", "5 ;a", "5;\x00", "5\x0b", "5\x00", "5,",
			"4", "6", "g", "", "fffffffffffffff5", "10000000000000005", "7fffffffffffffff", "ffffffffffffffff", "5;a\nb", "5\rX", "5;\r", "5;" + strings.Repeat("a", 5000), "5_0", "A", "a",
		}),
		fill(frame+"%s"+last, []string{
			"5\nhello\n0\n\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\rhello\r0\r\r", "5\r\nhello\r\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n",
			"5\r\nhello\r\n00\r\n\r\n", "5\r\nhello\r\n0;x=y\r\n\r\n", "5\r\nhello\r\n0 \r\n\r\n", "5\r\nhello\r\n-0\r\n\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\nX\r\n\r\n", "0\n\r\n", "0\r\n\n", "0\n\n", "0\r\n\r\r\n",
		}),
		fill(frame+"5\r\nhello\r\n0\r\n%s\r\n"+last, []string{
			"X: y\r\n", "X: y\r\nX: z\r\n", "X: a\r\n b\r\n", "X : y\r\n", ": y\r\n", "Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n", "Host: other\r\n", "X: y\n", "X: \x00\r\n", "X: " + strings.Repeat("y", 20000) + "\r\n", strings.Repeat("X: y\r\n", 500), "GET /b HTTP/1.1\r\n",
		}),
	)
}

func requestLines() []*talk {
	const rest = "\r\nHost: h\r\nConnection: close\r\n\r\n"
	return slices.Concat(
		fill("%s /a HTTP/1.1"+rest, []string{
			"get", "Get", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "QUERY", "M-SEARCH", "FOO", "G", "GET\t", "G\x00T", "G\x80T", "G:T", "G(T", "!#$%&'*+-.^_`|~0", " GET", "\tGET", "", strings.Repeat("M", 40), "GET\r", "GE\nT",
		}),
		fill("GET %s HTTP/1.1"+rest, []string{
			"/", "//", "//h/a", "/../a", "/a/./b/../c", "/a%00", "/a%zz", "/a%", "/%2e%2e/a", "/a?b=c;d&&=e", "/a?b?c", "/a#f", "/a?#", "*", "a", "?a", "", "/a b", "/a\tb", "/a\x00b", "/a\x01", "/a\x7f", "/a\xff\xfe", "/ä", "/a\\b", "\\a", "/a\"b<>", "/{a}|^`", "/a:80", "/a@b",
			"http://h/a", "http://other/a?b", "http://h", "HTTP://h/a", "https://h/a", "http:///a", "http://u:p@h/a", "http://h:99999/a", "http://[::1]:80/a", "ftp://h/a", "h:80", "http:/a", "://", " /a", "/304",
		}),
		fill("GET /a%s"+rest, []string{
			"", " ", " HTTP/0.9", " HTTP/1.0", " HTTP/1.2", " HTTP/1.9", " HTTP/1.10", " HTTP/01.1", " HTTP/2.0", " HTTP/2", " HTTP/3.0", " HTTP/11", " HTTP/1", " HTTP/1.", " HTTP/.1", " HTTP/1,1", " http/1.1", " HTTPS/1.1", " HTTP /1.1", " HTTP/1.1 ", " HTTP/1.1\t", "  HTTP/1.1", "\tHTTP/1.1", " HTTP/1.1 HTTP/1.1", " HTTP/1.1\x00", " HTTP/1.1\r", " HTTP/-1.1", " FOO",
		}),
		each("OPTIONS * HTTP/1.1"+rest, "CONNECT h:80 HTTP/1.1"+rest, "CONNECT h:80 HTTP/1.1"+rest+"hello", "CONNECT /a HTTP/1.1"+rest, "CONNECT h HTTP/1.1"+rest, "GET\r\n\r\n", "GET /a\r\n", "GET /a\n", "GET\n\n", "/a\r\n\r\n"),
	)
}

func headers() []*talk {
	fields := []string{
		"A: b\r\n c", "A: b\r\n\tc", "A: b\r\n \r\n c", "A:\r\n b", "A: b\n c", "A: b\rC: d", "A: b\nC: d", "A: b\r\r\nC: d", "A : b", "A\t: b", "A", "A b", ": b", ":", "A:", "A:b", "A:  b  ", "A:\tb\t", "A: b\x00c", "A\x00: b", "A b: c", "A(: b", "A/B: c", "Ä: b", "A: ä", "A: \xff", "A: \"b", "A: b\\", "A: %0d%0aB: c", "A_B: c", "A.B: c", "a: 1\r\nA: 2\r\na: 3",
		"Host: other", "host: h", "X: y\r\nConnection: close\r\nConnection: keep-alive", "Connection: close, X", "Connection: Content-Length", "Connection: \x00", "Keep-Alive: timeout=1", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: Content-Length", "Cookie: a=b; c=d\r\nCookie: e", "Range: bytes=0-1", "If-None-Match: \"1\"", "Max-Forwards: 0", "X-HTTP-Method-Override: DELETE", "Accept-Encoding: gzip", "Via: 1.0 x", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=x", "Authorization: Basic x", "Content-Type: text/plain; charset=\xff",
	}
	for _, c := range []int{1, 7, 8, 9, 11, 12, 27, 31, 127, 128, 160} {
		fields = append(fields, fmt.Sprintf("A%cB: c", c), "A: b"+string([]byte{byte(c)})+"c", "A: "+string([]byte{byte(c)})+"b")
	}
	return slices.Concat(
		fill("GET /a HTTP/1.1\r\nHost: h\r\n%s\r\nX: y\r\n\r\n"+last, fields),
		fill("GET /a HTTP/1.1\r\n%s\r\n\r\n", []string{ // the first and only one
			"Host:", "Host: ", "Host: h:80", "Host: h:", "Host: u@h", "Host: h/a", "Host: h h", "Host: h,i", "Host: [::1]", "Host: [::1", "Host: \xff", "Host: h\x00", "Host: h\r\nHost: h", "Host : h", " Host: h", "\tHost: h", "X: y", "Host: ..", "Host: h..", "Host: " + strings.Repeat("h", 300),
		}),
		each("GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n"),
	)
}

// lineEnds ends the lines of good requests in other ways.
func lineEnds() []*talk {
	var all []*talk
	for _, request := range []string{get, post, chunked} {
		for _, end := range []string{"\n", "\r", "\n\r", "\r\r\n", "\r\n\n", " \r\n", "\x00\r\n", "\x0b", "\u2028", "\x85"} {
			all = append(all, each(strings.ReplaceAll(request, "\r\n", end))...)
		}
		for _, before := range []string{"\r\n", "\n", "\r", "\r\n\r\n\r\n", " ", "\x00", "\ufeff", "0\r\n\r\n", strings.Repeat("\r\n", 100)} {
			all = append(all, each(before+request)...)
		}
		for _, after := range []string{"\r\n", "\n", "\r", "\x00", "G", "0\r\n\r\n", " " + last, "\r\n" + last} {
			all = append(all, each(request+after)...)
		}
	}
	return all
}

// large requests go over one bound after another of servers, and of ours.
func large() []*talk {
	var all []*talk
	for _, n := range []int{1 << 12, 1 << 13, 1<<15 - 1, 1 << 15, 1<<16 + 1, 1 << 17} {
		long := strings.Repeat("a", n)
		all = append(all, each(
			"GET /"+long+" HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: h\r\nA: "+long+"\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: h\r\n"+long[:n/2]+": b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("A: b\r\n", n/6)+"\r\n",
			fmt.Sprintf("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", n, long),
			fmt.Sprintf("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, long),
			"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\na\r\n", n/6)+"0\r\n\r\n",
		)...)
	}
	huge := strings.Repeat("a", 1<<20)
	return append(all, each("GET /"+huge+" HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\nA: "+huge+"\r\n\r\n", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n"+huge)...)
}

func pipelined() []*talk {
	const close10 = "GET /a HTTP/1.0\r\n\r\n"
	all := each(
		get+get, get+post+chunked+last, strings.Repeat(get, 20)+last, strings.Repeat(post, 100), get+"HEAD /b HTTP/1.1\r\nHost: h\r\n\r\n"+last,
		"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"+close10, close10+get, last+get, get+"\r\n"+last, get+"\r\n\r\n\r\n"+last, post+"\n"+last, get+"nonsense\r\n\r\n", post+"\x00"+get,
		"GET /304 HTTP/1.1\r\nHost: h\r\n\r\n"+last, chunked+"GET /b\r\n\r\n", get+"GET /b HTTP/2.0\r\n\r\n", "DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n"+last, get+strings.ReplaceAll(last, "\r\n", "\n"),
	)
	for _, k := range all {
		k.pipelined = true
	}
	return all
}

func expectations() []*talk {
	const head = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
	all := fill(head+"Expect: %s\r\n\r\nok"+last, []string{"100-continue", "100-Continue", "100-continue, 100-continue", "100", "magic", "", "100-continue\r\nExpect: 100-continue"})
	all = append(all, each(
		"PUT /a HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
		"GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"+last,
		head+"Expect: 100-continue\r\n\r\n",
		"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\nok\r\n0\r\n\r\n"+last,
	)...)
	all = append(all, &talk{pieces: []string{head + "Expect: 100-continue\r\nConnection: close\r\n\r\n", "ok"}})
	all = append(all, fill("GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello\x00\xff", []string{"websocket", "h2c", "TLS/1.0", "foo/2", "websocket, h2c", ""})...)
	return append(all, each(
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e\x88\x80\x00\x00\x00\x00",
		"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n"+last,
	)...)
}

// strangers do not speak HTTP/1.
func strangers() []*talk {
	random := make([]byte, 4096)
	for i, x := 0, uint32(1); i < len(random); i++ { // the same in each run
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	return each(
		"", "\r\n", "\n", "\x00", " ", "G", "PRI", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x09\xff\xff\xff\xff\xff", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello", "SSH-2.0-x\r\n", "EHLO x\r\nQUIT\r\n", "*1\r\n$4\r\nPING\r\n", "\x05\x01\x00", "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "{\"a\": 1}\n", strings.Repeat("\x00", 1024), strings.Repeat("\xff", 300), string(random), "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"+string(random),
	)
}

// seams are the places in a request where a mistake is made when it arrives in
// two reads: before and after each CR, LF, colon, semicolon and blank.
func seams(request string) []int {
	at := map[int]bool{}
	for i := range len(request) {
		if strings.IndexByte("\r\n :;", request[i]) >= 0 {
			at[i], at[i+1] = true, true
		}
	}
	delete(at, 0)
	delete(at, len(request))
	var all []int
	for i := range at {
		all = append(all, i)
	}
	slices.Sort(all)
	return all
}

// cut ends requests early, at each seam; some clients leave, or reset.
func cut() []*talk {
	var all []*talk
	for _, request := range []string{get, post, chunked} {
		for i, at := range seams(request) {
			all = append(all, &talk{pieces: []string{request[:at]}})
			if i%4 == 0 {
				all = append(all, &talk{pieces: []string{request[:at]}, end: leave}, &talk{pieces: []string{request[:at]}, end: abort})
			}
		}
		all = append(all, &talk{pieces: []string{request}, end: leave}, &talk{pieces: []string{request + last}, end: abort})
	}
	return all
}

// split writes requests in two pieces, at each seam, and byte by byte.
func split() []*talk {
	var all []*talk
	for _, request := range []string{get, post, chunked} {
		for _, at := range seams(request) {
			all = append(all, &talk{pieces: []string{request[:at], request[at:] + last}, pipelined: true})
		}
		all = append(all, &talk{pieces: strings.Split(request+last, ""), pipelined: true})
	}
	return all
}

// waiting clients say less than they promised, and stay.
func waiting() []*talk {
	var all []*talk
	for _, said := range []string{
		"", "G", "GET /a HTTP/1.1\r\nHos", "GET /a HTTP/1.1\r\nHost: h\r\n", get, get + get, last, post[:len(post)-2], chunked[:len(chunked)-2], chunked[:len(chunked)-20], "nonsense\r\n\r\n", "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
	} {
		all = append(all, &talk{pieces: []string{said}, end: listen})
	}
	return all
}
