package config

import (
	"fmt"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const (
	configFlag = "config"
	keyOfFlag  = "easel-setting" // the annotation that names a flag's setting
)

// AddFlag adds a flag that overrides the setting at path.
func AddFlag(flags *pflag.FlagSet, name, path, usage string) {
	flags.String(name, "", usage)
	flags.Lookup(name).Annotations = map[string][]string{keyOfFlag: {path}}
}

// AddFlags adds --config and the overrides that every program takes.
func AddFlags(flags *pflag.FlagSet) {
	flags.String(configFlag, "", "configuration `file` (default ./easel.yaml, then /etc/easel/easel.yaml)")
	AddFlag(flags, "redis-url", "redis.url", "`URL` of the Redis that holds the jobs")
	AddFlag(flags, "data-dir", "data_dir", "`directory` for artifacts and local data")
	AddFlag(flags, "log-level", "log.level", "debug, info, warn or error")
	AddFlag(flags, "log-format", "log.format", "console or json")
}

// bindFlags lets the flags that were given win.
func bindFlags(merged *viper.Viper, flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(flag *pflag.Flag) {
		if path, ok := flag.Annotations[keyOfFlag]; ok && flag.Changed && err == nil {
			err = merged.BindPFlag(path[0], flag)
		}
	})
	if err != nil {
		return fmt.Errorf("bind flags: %w", err)
	}
	return nil
}
