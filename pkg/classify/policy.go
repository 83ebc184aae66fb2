package classify

// Policy is what a class of failure asks of us.
type Policy struct {
	Retry        bool // the same provider may be asked again
	Reroute      bool // another provider may be asked instead
	CostsAttempt bool // it spends one of the job's attempts
	Throttle     bool // ask this provider for less at a time
	Unhealthy    bool // it is held against the provider's health
	Alert        bool // the provider is down for us until a person acts
}

// policies is the whole table. To change how a kind of failure is treated,
// change a line.
//
// UnknownOutcome is neither retried nor rerouted: the submission has to be
// looked up first, see [IsUnknownOutcome]. GenerationFailed is not held against
// the provider, since one caller's odd inputs would take it down for all.
var policies = map[Class]Policy{
	Network:          {Retry: true, Reroute: true, CostsAttempt: true, Unhealthy: true},
	Timeout:          {Retry: true, Reroute: true, CostsAttempt: true, Unhealthy: true},
	Server:           {Retry: true, Reroute: true, CostsAttempt: true, Unhealthy: true},
	RateLimit:        {Retry: true, Reroute: true, Throttle: true},
	Overloaded:       {Retry: true, Reroute: true, CostsAttempt: true, Unhealthy: true},
	Authentication:   {Reroute: true, CostsAttempt: true, Unhealthy: true, Alert: true},
	Quota:            {Reroute: true, CostsAttempt: true, Unhealthy: true, Alert: true},
	Validation:       {CostsAttempt: true},
	ContentPolicy:    {CostsAttempt: true},
	NotFound:         {CostsAttempt: true},
	GenerationFailed: {Retry: true, Reroute: true, CostsAttempt: true},
	UnknownOutcome:   {CostsAttempt: true, Unhealthy: true},
	Canceled:         {},
	Unknown:          {CostsAttempt: true},
}

// Classes lists every class.
var Classes = []Class{
	Network, Timeout, Server, RateLimit, Overloaded, Authentication, Quota, Validation,
	ContentPolicy, NotFound, GenerationFailed, UnknownOutcome, Canceled, Unknown,
}

// Policy returns what the class asks of us. A class that is not in the table is
// treated as [Unknown].
func (c Class) Policy() Policy {
	if policy, ok := policies[c]; ok {
		return policy
	}
	return policies[Unknown]
}

// Valid reports whether c is one of [Classes].
func (c Class) Valid() bool {
	_, ok := policies[c]
	return ok
}

// messages are for errors that bring none that is fit for the caller.
var messages = map[Class]string{
	Network:          "the provider could not be reached",
	Timeout:          "there was no answer in time",
	Server:           "the provider had an error of its own",
	RateLimit:        "the provider asks for fewer requests",
	Overloaded:       "the provider is busy",
	Authentication:   "the provider refused our credentials",
	Quota:            "the account at the provider has no credit left",
	Validation:       "the provider refused the input",
	ContentPolicy:    "the provider refused the content",
	NotFound:         "the provider does not know what was asked for",
	GenerationFailed: "the generation failed",
	UnknownOutcome:   "the provider's answer was lost; it may have accepted the request",
	Canceled:         "the call was canceled",
	Unknown:          "unexpected failure",
}
