package classify

import "net/http"

// statuses says what an HTTP status means where nothing better is known.
// Other 5xx are [Server], everything else is [Unknown]. 529 is "site is
// overloaded", in wide use though IANA does not list it.
var statuses = map[int]Class{
	http.StatusBadRequest:                     Validation,
	http.StatusUnauthorized:                   Authentication,
	http.StatusPaymentRequired:                Quota,
	http.StatusForbidden:                      Authentication,
	http.StatusNotFound:                       NotFound,
	http.StatusMethodNotAllowed:               Validation,
	http.StatusNotAcceptable:                  Validation,
	http.StatusRequestTimeout:                 Timeout,
	http.StatusConflict:                       Overloaded,
	http.StatusGone:                           NotFound,
	http.StatusLengthRequired:                 Validation,
	http.StatusRequestEntityTooLarge:          Validation,
	http.StatusRequestURITooLong:              Validation,
	http.StatusUnsupportedMediaType:           Validation,
	http.StatusUnprocessableEntity:            Validation,
	http.StatusTooEarly:                       Overloaded,
	http.StatusTooManyRequests:                RateLimit,
	http.StatusRequestHeaderFieldsTooLarge:    Validation,
	http.StatusServiceUnavailable:             Overloaded,
	529 /* "site is overloaded", not IANA */ : Overloaded,
}

// FromStatus classifies an HTTP status by the generic rows that hold for every
// provider. It is meant for answers that may be asked for again: on a paid call
// a gateway's 502 or 504 says nothing of what became of it.
func FromStatus(status int) Class {
	if class, ok := statuses[status]; ok {
		return class
	}
	if status >= 500 && status <= 599 {
		return Server
	}
	return Unknown
}

// codes are error codes that mean the same wherever they are seen. They matter
// where the status says something else: money that is out often comes as 429.
var codes = map[string]Class{
	"insufficient_quota":       Quota,
	"quota_exceeded":           Quota,
	"insufficient_credits":     Quota,
	"insufficient_balance":     Quota,
	"payment_required":         Quota,
	"billing_hard_limit":       Quota,
	"credit_balance_exhausted": Quota,
	"content_policy_violation": ContentPolicy,
	"content_moderation":       ContentPolicy,
	"moderation_blocked":       ContentPolicy,
	"rate_limit_exceeded":      RateLimit,
	"too_many_requests":        RateLimit,
	"invalid_api_key":          Authentication,
	"model_not_found":          NotFound,
}
