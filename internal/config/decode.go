package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// decode turns the merged settings into a Config. What cannot be converted is a
// problem at its path and leaves the field empty.
func decode(merged *viper.Viper, found *problems) *Config {
	var c Config
	err := merged.Unmarshal(&c, func(d *mapstructure.DecoderConfig) {
		d.TagName = "yaml"
		d.WeaklyTypedInput = false // convert decides, so that 1.5 is not a 1
		d.DecodeHook = convert
	})
	collect(err, found)
	return &c
}

// collect finds the paths in what mapstructure reports.
func collect(err error, found *problems) {
	if err == nil {
		return
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range several.Unwrap() {
			collect(each, found)
		}
		return
	}
	if one, ok := err.(*mapstructure.DecodeError); ok { //nolint:errorlint // a walk: errors.As would skip branches of the tree
		path := one.Name()
		// Only our own errors are repeated: mapstructure's may hold the value.
		if wrong, ok := errors.AsType[valueError](one.Unwrap()); ok {
			found.add(path, "%s", string(wrong))
		} else {
			found.add(path, "has a value of the wrong kind")
		}
		return
	}
	if inner := errors.Unwrap(err); inner != nil {
		collect(inner, found)
		return
	}
	found.add("", "cannot be read")
}

// valueError says what a value should have been, without repeating it.
type valueError string

func (e valueError) Error() string { return string(e) }

const (
	errDuration = valueError("must be a duration with its unit, such as 90s, 5m or 24h")
	errInteger  = valueError("must be a whole number")
	errBool     = valueError("must be true or false")
	errText     = valueError("must be text: write it in quotes")
	errList     = valueError("must be a list")
)

// convert is the decode hook: it turns text, which is all that the environment
// and flags can say, into what the setting wants.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if from.Type() == to.Type() {
		return value, nil
	}
	switch to.Interface().(type) {
	case time.Duration:
		return convertDuration(value)
	case Size:
		return convertSize(value)
	case Rate:
		return convertRate(value)
	}
	switch to.Kind() {
	case reflect.Int:
		return convertInt(value)
	case reflect.Bool:
		return convertBool(value)
	case reflect.String:
		if from.Kind() != reflect.String {
			return nil, errText
		}
	case reflect.Slice:
		return convertList(value)
	case reflect.Struct:
		return convertShorthand(value, to)
	}
	return value, nil
}

func convertDuration(value any) (any, error) {
	switch value := value.(type) {
	case int:
		if value == 0 {
			return time.Duration(0), nil
		}
	case string:
		if d, err := time.ParseDuration(strings.TrimSpace(value)); err == nil {
			return d, nil
		}
	}
	return nil, errDuration
}

func convertSize(value any) (any, error) {
	switch value := value.(type) {
	case int:
		if value >= 0 {
			return Size(value), nil
		}
	case string:
		if size, err := ParseSize(value); err == nil {
			return size, nil
		}
	}
	return nil, valueError(errSize.Error())
}

func convertInt(value any) (any, error) {
	switch value := value.(type) {
	case int:
		return value, nil
	case string:
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			return n, nil
		}
	}
	return nil, errInteger
}

func convertBool(value any) (any, error) {
	switch value := value.(type) {
	case bool:
		return value, nil
	case string:
		if b, err := strconv.ParseBool(strings.TrimSpace(value)); err == nil {
			return b, nil
		}
	}
	return nil, errBool
}

// convertList splits text at commas, and drops what is empty between them.
func convertList(value any) (any, error) {
	switch value := value.(type) {
	case string:
		elements := []any{}
		for element := range strings.SplitSeq(value, ",") {
			if element = strings.TrimSpace(element); element != "" {
				elements = append(elements, element)
			}
		}
		return elements, nil
	case list:
		return []any(value), nil
	case []any:
		return value, nil
	}
	if reflect.TypeOf(value).Kind() == reflect.Slice {
		return value, nil
	}
	return nil, errList
}

// shorthand reports whether text may stand for a whole section of this type.
func shorthand(section reflect.Type) bool {
	_, err := convertShorthand("", reflect.Zero(section))
	return err == nil
}

// convertShorthand lets text stand for the section that it is the point of: a
// provider's name, a key, a secret. So EASEL_API_KEYS=key1,key2 works. A key
// without a section has nobody to be told apart from, so it may do everything.
func convertShorthand(value any, to reflect.Value) (any, error) {
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	switch to.Interface().(type) {
	case Provider:
		return map[string]any{"name": text}, nil
	case APIKey:
		return map[string]any{"key": text, "scopes": []any{ScopeJobs, ScopeOperate}}, nil
	case WebhookSecret:
		return map[string]any{"secret": text}, nil
	}
	return nil, valueError("must be a section")
}
