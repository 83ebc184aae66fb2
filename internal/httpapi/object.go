package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxFaults bounds how much is said about one request.
const maxFaults = 50

// object reads a JSON object member by member and collects everything that is
// wrong with it. A member that is missing or null keeps its zero value. Each
// method reads one member; [object.done] refuses those that nobody asked for.
type object struct {
	at      string // pointer of the object itself, as a URI fragment
	members map[string]json.RawMessage
	known   map[string]bool
	faults  *[]Fault
}

func readObject(raw json.RawMessage, at string, faults *[]Fault) *object {
	o := &object{at: at, known: map[string]bool{}, faults: faults}
	if json.Unmarshal(raw, &o.members) != nil || o.members == nil {
		o.fault(at, "must be an object")
	}
	return o
}

func (o *object) fault(pointer, detail string) {
	if len(*o.faults) < maxFaults {
		*o.faults = append(*o.faults, Fault{Pointer: pointer, Detail: detail})
	}
}

// member returns a member that is there and not null.
func (o *object) member(name string) (raw json.RawMessage, there bool) {
	o.known[name] = true
	raw, there = o.members[name]
	return raw, there && string(raw) != "null"
}

// below is the pointer of something in the object.
func (o *object) below(name string) string { return o.at + "/" + token(name) }

// token writes a member's name as a part of a pointer (RFC 6901 §3 and §6). A
// very long one is cut: it may be a value in the wrong place.
func token(name string) string {
	if runes := []rune(name); len(runes) > 64 {
		name = string(runes[:64]) + "…"
	}
	return url.PathEscape(pointerEscapes.Replace(name))
}

// pointerEscapes are those of RFC 6901 §3.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (o *object) text(name string, into *string) {
	if raw, there := o.member(name); there {
		*into = o.readText(raw, o.below(name))
	}
}

// readText reads a string that is a name or a label. Control characters have no
// place in those, and would end up in logs and headers.
func (o *object) readText(raw json.RawMessage, at string) string {
	s := o.readString(raw, at)
	if strings.ContainsFunc(s, unicode.IsControl) {
		o.fault(at, "must not contain control characters")
		return ""
	}
	return s
}

func (o *object) readString(raw json.RawMessage, at string) string {
	var s string
	if json.Unmarshal(raw, &s) != nil || string(raw) == "null" {
		o.fault(at, "must be a string")
	}
	return s
}

func (o *object) texts(name string, into *[]string) {
	for i, raw := range o.array(name) {
		*into = append(*into, o.readText(raw, o.below(name)+"/"+strconv.Itoa(i)))
	}
}

func (o *object) array(name string) []json.RawMessage {
	raw, there := o.member(name)
	if !there {
		return nil
	}
	items := []json.RawMessage{}
	if json.Unmarshal(raw, &items) != nil {
		o.fault(o.below(name), "must be an array")
	}
	return items
}

func (o *object) textMap(name string, into *map[string]string) {
	raw, there := o.member(name)
	if !there {
		return
	}
	inner := readObject(raw, o.below(name), o.faults)
	result := make(map[string]string, len(inner.members))
	for _, key := range slices.Sorted(maps.Keys(inner.members)) {
		result[key] = inner.readString(inner.members[key], inner.below(key))
	}
	*into = result
}

// raw reads a member that must be an object and is passed on as it is.
func (o *object) raw(name string, into *json.RawMessage) {
	raw, there := o.member(name)
	if !there {
		return
	}
	if raw[0] != '{' {
		o.fault(o.below(name), "must be an object")
		return
	}
	*into = raw
}

func (o *object) moment(name string, into **time.Time) {
	raw, there := o.member(name)
	if !there {
		return
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			*into = &t
			return
		}
	}
	o.fault(o.below(name), "must be a time in RFC 3339, such as 2026-01-02T15:04:05Z")
}

// integer reads a whole number into an optional field of o.
func integer[T int | int64](o *object, name string, into **T) {
	raw, there := o.member(name)
	if !there {
		return
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || int64(T(n)) != n {
		o.fault(o.below(name), "must be a whole number")
		return
	}
	value := T(n)
	*into = &value
}

// choice reads a string that must be one of a few.
func choice[T ~string](o *object, name string, into *T, choices ...T) {
	var s string
	before := len(*o.faults)
	o.text(name, &s)
	if s == "" || len(*o.faults) > before {
		return
	}
	if !slices.Contains(choices, T(s)) {
		o.fault(o.below(name), "must be one of "+list(choices))
		return
	}
	*into = T(s)
}

func list[T ~string](choices []T) string {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(string(c))
	}
	return strings.Join(quoted, ", ")
}

// done refuses the members that no method has read, by name: a misspelt option
// must not be dropped in silence.
func (o *object) done() {
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		if !o.known[name] {
			o.fault(o.below(name), fmt.Sprintf("is not a field of this object; its fields are %s", list(slices.Sorted(maps.Keys(o.known)))))
		}
	}
}

// decode reads a body that is one object, and reports all its faults at once.
func decode(raw json.RawMessage, read func(o *object)) error {
	var faults []Fault
	o := readObject(raw, "#", &faults)
	read(o)
	o.done()
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}
