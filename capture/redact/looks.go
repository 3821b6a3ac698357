package redact

import (
	"math"
	"slices"
	"strings"

	"tapedeck/wire"
)

// looksSecret says that a text is long and of no pattern: a key, a token, a
// hash. UUIDs, dates and addresses of the web are none.
func looksSecret(s string) bool {
	if len(s) < 16 || len(s) > 4096 || strings.ContainsAny(s, " \t\r\n<>{}") || strings.Contains(s, "://") || s[0] == '/' {
		return false
	}
	switch wire.Class(s) {
	case wire.ClassUUID, wire.ClassDate, wire.ClassID, wire.ClassEmail:
		return false
	}
	return strings.ContainsAny(s, "0123456789") && hasLetter(s) && entropy(s) >= 3.2
}

func hasLetter(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }) >= 0
}

// entropy is Shannon's, in bits a byte.
func entropy(s string) (bits float64) {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// isCommon says that a value is one of few, or a time.
func isCommon(s string) bool {
	return s == "true" || s == "false" || s == "null" || len(s) < 2 || wire.Class(s) == wire.ClassDate
}

// traceNames are of requests, not of persons, however random their values look.
var traceNames = words(`requestid traceid spanid correlationid transactionid messageid eventid etag nonce checksum hash sha256 digest md5 version revision commit build useragent`)

// personNames say that a value is of a person, where the names of the packs
// are not sure enough to be on by default.
var personNames = map[Class][]string{
	Name: words(`username userlogin login nickname displayname screenname handle contactname recipient recipientname addressee beneficiary signatory
		customername patientname employeename guestname passengername authorname ownername payeename payername motherfirstname mothersmaidenname
		vorname nachname nom prenom nombre apellido apellidos cognome naam voornaam achternaam imie nazwisko`),
	Address: words(`city town suburb district county village housenumber streetnumber pobox apartment birthplace placeofbirth
		latitude longitude lat lon lng geolocation location coordinates ip ipaddress clientip remoteaddr remoteip xforwardedfor xrealip
		strasse hausnummer ort plz adresse ville rue codepostal direccion ciudad calle via citta ulica miasto`),
	Custom: words(`userid customerid customerno customernumber clientnumber personid patientid memberid membernumber employeeid employeenumber studentid accountid subscriberid
		passport passportnumber licence license licensenumber driverslicense drivinglicence licenseplate plate insurancenumber policynumber medicalrecordnumber mrn
		vatid taxnumber deviceid imei imsi iccid advertisingid idfa gaid macaddress
		gender sex nationality citizenship religion ethnicity race maritalstatus diagnosis disease medication bloodtype salary income wage age`),
}

var personClass = map[string]Class{}

func init() {
	for class, names := range personNames {
		for _, name := range names {
			personClass[name] = class
		}
	}
}

// persons are what a bare name, or id, belongs to.
var persons = words(`user customer person patient contact recipient owner author employee passenger guest member sender buyer seller driver student account profile subscriber`)

// personalClass is the class of values under a name that may be a person's,
// below the name of what they belong to.
func personalClass(name, above string) Class {
	plain := plainName(withoutX([]byte(name)))
	if class := personClass[plain]; class != None {
		return class
	}
	if owner := strings.TrimSuffix(plainName([]byte(above)), "s"); slices.Contains(persons, owner) {
		switch plain {
		case "name":
			return Name
		case "id", "no", "number":
			return Custom
		}
	}
	return None
}
