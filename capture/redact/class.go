package redact

// Class says what kind of value is replaced. Equal values of one class have
// equal tokens, and each class has a key of its own.
type Class uint8

// The classes.
const (
	None       Class = iota
	Credential       // who may do something: passwords, tokens, keys, cookies
	Card             // the number of a payment card (PAN)
	CVV              // its check number
	IBAN
	Email
	Phone
	SSN
	Name // of a person
	Address
	Birthdate
	Custom // what only a rule knows
	classes
)

var classNames = [classes]string{"", "credential", "card", "cvv", "iban", "email", "phone", "ssn", "name", "address", "birthdate", "custom"}

// String is the class's name in marks and rules.
func (c Class) String() string { return classNames[c] }

func classOf(name string) (Class, bool) {
	for c, n := range classNames {
		if n == name && n != "" {
			return Class(c), true
		}
	}
	return None, false
}

// packs are the classes that are turned on and off together.
var packs = map[string][]Class{
	"credentials": {Credential},
	"payment":     {Card, CVV, IBAN},
	"personal":    {Email, Phone, SSN, Name, Address, Birthdate},
}

// Action says what becomes of a value.
type Action uint8

// The actions.
const (
	Keep       Action = iota
	Token             // keyed and shaped, equal values stay equal
	Mask              // its letters become *, its digits 9
	Drop              // nothing stays
	HashLength        // its length and a token
)

var actionNames = [...]string{"keep", "token", "mask", "drop", "hash-length"}

// String is the action's name in marks and rules.
func (a Action) String() string { return actionNames[a] }

// treatment is what is done to values of one kind.
type treatment struct {
	class  Class
	action Action
}
