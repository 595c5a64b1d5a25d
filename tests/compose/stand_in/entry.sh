# Runs the engine's server where the image is one, else the command that follows.
if [ -n "$STAND_IN_ENTRY" ]; then
    exec python /stand_in/engine.py "$STAND_IN_ENTRY" "$@"
fi
exec "$@"
