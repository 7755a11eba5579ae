"""The LoadGen process: settings, sample library, dispatch and completion."""
