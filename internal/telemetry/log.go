package telemetry

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes to w: as "console" for people, as "json" for machines, from
// level (debug, info, warn, error) up. Nothing is sampled away: the line that
// says why a job failed must not be the one that was dropped.
func NewLogger(w io.Writer, level, format string) (*zap.Logger, error) {
	least, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	encoder, err := newEncoder(format)
	if err != nil {
		return nil, err
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), least)
	return zap.New(core, zap.AddStacktrace(zapcore.DPanicLevel)), nil
}

func newEncoder(format string) (zapcore.Encoder, error) {
	switch format {
	case "json":
		cfg := zap.NewProductionEncoderConfig()
		cfg.TimeKey, cfg.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
		cfg.MessageKey = "message"
		cfg.EncodeDuration = zapcore.StringDurationEncoder
		return zapcore.NewJSONEncoder(cfg), nil
	case "console":
		cfg := zap.NewDevelopmentEncoderConfig()
		cfg.EncodeTime = func(t time.Time, out zapcore.PrimitiveArrayEncoder) { out.AppendString(t.Format("15:04:05.000")) }
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		return zapcore.NewConsoleEncoder(cfg), nil
	default:
		return nil, fmt.Errorf("log format %q is neither console nor json", format)
	}
}
