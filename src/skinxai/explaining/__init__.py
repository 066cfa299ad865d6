"""Image in, `Explanation` out: method, target, and back to the source's pixels."""
