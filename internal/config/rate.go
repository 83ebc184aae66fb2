package config

import (
	"strconv"
	"strings"
	"time"
)

// Rate is so many requests in an interval, written as 10/s, 600/m, 5000/h or
// 100/10s. The empty Rate is no limit; 0 is read as that.
type Rate string

// The bounds of a rate.
const (
	mostRequests    = 100_000
	shortestRatePer = 10 * time.Millisecond
	longestRatePer  = 24 * time.Hour
)

const errRate = valueError("must be requests per interval, such as 10/s, 600/m or 100/10s; 0 is no limit")

// ParseRate reads a rate. The error does not repeat the text.
func ParseRate(text string) (Rate, error) {
	text = strings.ReplaceAll(text, " ", "")
	if text == "" || text == "0" {
		return "", nil
	}
	if _, _, err := split(text); err != nil {
		return "", err
	}
	return Rate(text), nil
}

// Limit is the number of requests and the interval; zero is no limit.
func (r Rate) Limit() (requests int, per time.Duration) {
	requests, per, _ = split(string(r)) // what was parsed is right
	return requests, per
}

func split(text string) (requests int, per time.Duration, err error) {
	number, interval, _ := strings.Cut(text, "/")
	if interval != "" && (interval[0] < '0' || interval[0] > '9') {
		interval = "1" + interval // 10/s is 10/1s
	}
	requests, err = strconv.Atoi(number)
	if err != nil || requests < 1 || requests > mostRequests {
		return 0, 0, errRate
	}
	per, err = time.ParseDuration(interval)
	if err != nil || per < shortestRatePer || per > longestRatePer {
		return 0, 0, errRate
	}
	return requests, per, nil
}

func convertRate(value any) (any, error) {
	switch value := value.(type) {
	case int:
		if value == 0 {
			return Rate(""), nil
		}
	case string:
		if rate, err := ParseRate(value); err == nil {
			return rate, nil
		}
	}
	return nil, errRate
}
