"""From a fit to another one: sliders, keyframes and presets, smoothing, rates, loops and gaps."""
