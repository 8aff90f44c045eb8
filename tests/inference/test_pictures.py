"""One picture per photo."""

from __future__ import annotations

import numpy as np
import pytest

from auformer.inference import AUPredictor
from auformer.inference.pictures import photo_figure, picture_names
from tests.helpers.figures import cut_texts, texts
from tests.helpers.photos import AUS, write_photos
from tests.helpers.predictions import StandIn


@pytest.mark.parametrize(
    ("names", "pictures"),
    [
        (["a.jpg"], ["a_aus.png"]),
        (["p/a.jpg", "q/a.jpg", "q/b.c.jpg"], ["a_aus.png", "a-2_aus.png", "b.c_aus.png"]),
        (["a.jpg", "A.png", "a-2.png", "a.bmp"], ["a_aus.png", "A-2_aus.png", "a-2-2_aus.png", "a-3_aus.png"]),
    ],
)
def test_names_never_meet(names, pictures):
    assert picture_names(names) == pictures
    assert len({name.lower() for name in pictures}) == len(names)


class WithMaps(StandIn):
    """Evidence of AU number k lies in the cell k."""

    def expert_maps(self, images):
        maps = images.new_zeros(len(images), len(self.au_names), 2, 2)
        for k in range(len(self.au_names)):
            maps[:, k].view(len(images), -1)[:, k] = 1
        return maps


class TestFigure:
    def photo(self, tmp_path, name, network):
        predictor = AUPredictor(network)
        return predictor, next(iter(predictor.predict_photos([write_photos(tmp_path)[name]])))

    def test_what_it_says(self, tmp_path):
        figure = photo_figure(*self.photo(tmp_path, "two", WithMaps(AUS)))
        said = texts(figure)
        assert "two.png, largest of 2 faces" in said and "AU12 Lip corner puller" in said
        assert any("Probabilities that an action unit occurs, not intensities." in text for text in said)
        assert cut_texts(figure) == []

    def test_a_notice_is_in_it_in_lines_that_fit(self, tmp_path):
        notice = "Trained on rendered faces only, " + "and so on " * 20 + "to its end.\nOccurrence, not intensities."
        figure = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)), notice=notice)
        footer = next(text for text in texts(figure) if "Trained on rendered faces only" in text)
        assert footer.split() == notice.split() and max(map(len, footer.splitlines())) <= 90
        assert "one.png" in texts(figure) and cut_texts(figure) == []

    def test_a_picture_for_each_map_and_none_without_experts(self, tmp_path):
        with_maps = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)))
        without = photo_figure(*self.photo(tmp_path, "one", StandIn(AUS)))
        assert len(with_maps.axes) == len(without.axes) + len(AUS)

    def test_the_face_is_the_crop(self, tmp_path):
        predictor, photo = self.photo(tmp_path, "two", StandIn(AUS, image_size=(24, 24)))
        shown = [image.get_array() for axes in photo_figure(predictor, photo).axes for image in axes.get_images()]
        assert any(array.shape == (24, 24, 3) and np.array_equal(array, photo.faces[0].crop) for array in shown)
