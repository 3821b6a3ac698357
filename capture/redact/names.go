package redact

import "strings"

// classOfName holds names whose values have a class, whatever their letter
// case, '-', '_' and '.': in headers, query parameters, forms, XML and JSON
// alike, so that equal values get equal tokens in all of them.
var classOfName = map[string]Class{}

// olderNames are the credentials' names that --redact headers knows.
var olderNames = words(`token accesstoken refreshtoken idtoken authtoken sessiontoken securitytoken bearertoken apitoken
	apikey accesskey accesskeyid secretkey secretaccesskey privatekey subscriptionkey sessionkey functionskey
	secret clientsecret apisecret appsecret
	authorization proxyauthorization auth jwt sig signature assertion clientassertion
	session sessionid sid csrf xsrf xamzsignature xamzcredential xgoogsignature xgoogcredential`)

var names = map[Class][]string{
	Credential: words(`password passwd passwort pass pwd passphrase passcode userpassword newpassword oldpassword currentpassword
		confirmpassword passwordconfirmation pin otp totp onetimepassword onetimecode mfacode verificationcode secretanswer
		credential credentials accountkey sharedaccesskey sharedaccesssignature connectionstring encryptionkey signingkey
		masterkey webhooksecret hubsignature hubsignature256 webhooksignature ocpapimsubscriptionkey cookie setcookie jsessionid phpsessid aspnetsessionid connectsid codeverifier`),
	Card:      words(`pan cardnumber cardno ccnumber ccnum creditcard creditcardnumber debitcard primaryaccountnumber`),
	CVV:       words(`cvv cvc cvv2 cvc2 csc cardcvv cardcvc cvvcode cvccode securitycode cardsecuritycode`),
	IBAN:      words(`iban ibannumber bankaccount bankaccountnumber accountnumber`),
	Email:     words(`email emailaddress mail useremail contactemail emails`),
	Phone:     words(`phone phonenumber mobile mobilenumber mobilephone telephone tel msisdn fax faxnumber cellphone homephone workphone phones`),
	SSN:       words(`ssn socialsecuritynumber socialsecurity nationalid nationalinsurancenumber taxid taxidentificationnumber itin`),
	Name:      words(`firstname lastname fullname surname givenname familyname middlename maidenname cardholder cardholdername nameoncard patientname customername`),
	Address:   words(`address streetaddress street address1 address2 addressline1 addressline2 line1 line2 postaladdress homeaddress billingaddress shippingaddress zip zipcode postcode postalcode`),
	Birthdate: words(`birthdate dateofbirth dob birthday`),
}

func words(s string) []string { return strings.Fields(s) }

func init() {
	for _, name := range olderNames {
		classOfName[name] = Credential
	}
	for class, all := range names {
		for _, name := range all {
			classOfName[name] = class
		}
	}
}

// endings make a credential of any name.
var endings = []string{"token", "apikey", "secret", "accesskey", "privatekey"}

// moreEndings do so in full redaction.
var moreEndings = []string{"password", "passwd", "passphrase", "credential"}

// notCredentials end like one and are none: pages of a list.
var notCredentials = []string{"page", "next", "continuation", "cursor", "sync", "resume"}

const maxName = 128

// plainName is a name in small letters without the signs between its words.
func plainName(name []byte) string {
	var plain [maxName]byte
	n := 0
	for _, c := range name[:min(len(name), maxName)] {
		switch {
		case c == '-' || c == '_' || c == '.' || c == ' ' || c == '[' || c == ']': // user[password]
		case c >= 'A' && c <= 'Z':
			plain[n] = c + 'a' - 'A'
			n++
		default:
			plain[n] = c
			n++
		}
	}
	return string(plain[:n])
}

// classByName is the class of the values under a name; full knows more than
// credentials.
func classByName(name []byte, full bool) Class {
	if len(name) < 3 || len(name) > maxName {
		return None
	}
	plain := plainName(name)
	if class := classOfName[plain]; class != None && (full || isOlder(plain)) {
		return class
	}
	if endsLike(plain, endings) || full && endsLike(plain, moreEndings) {
		return Credential
	}
	return None
}

func isOlder(plain string) bool {
	for _, name := range olderNames {
		if name == plain {
			return true
		}
	}
	return false
}

func endsLike(plain string, endings []string) bool {
	for _, ending := range endings {
		if stem, ok := strings.CutSuffix(plain, ending); ok {
			for _, no := range notCredentials {
				if strings.HasSuffix(stem, no) {
					return false
				}
			}
			return true
		}
	}
	return false
}
